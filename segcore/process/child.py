"""Child processes whose whole tree ends with their owner, and whose failure says why."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from segcore.errors import CancelledError, StepError
from segcore.process import supervisor

TAIL_LINES = 15
TAIL_BYTES = 16_384


@dataclass(frozen=True)
class ProcessSpec:
    """How to start a child process.

    command: program and arguments; "python" programs should begin with sys.executable. log_path: stderr, and stdout
    unless pipes, is appended to it. pass_fds: descriptors the child inherits, e.g. the run's lock. grace_s: seconds
    between SIGTERM and SIGKILL. env: variables on top of this process's own. pipes: talk to the child in lines through
    its stdin and stdout. cwd: the child's working directory, None for this process's.
    """

    command: tuple[str, ...]
    log_path: Path
    pass_fds: tuple[int, ...] = ()
    grace_s: float = 60.0
    env: Mapping[str, str] | None = None
    pipes: bool = False
    cwd: Path | None = None


class SupervisedProcess:
    """A child process under segcore/process/supervisor.py; with `with`, its tree is gone at the block's end.

    If this process dies, however it dies, the child's tree is ended by the supervisor.
    """

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.popen: subprocess.Popen[bytes] | None = None
        self.life_fd = -1  # writing end of the life pipe; closing it ends the tree
        self.unread = b""  # received, but not yet a whole line

    def start(self) -> SupervisedProcess:
        """Start the child; StepError when its log cannot be written or the supervisor not be started."""
        spec = self.spec
        reader, self.life_fd = os.pipe()  # neither end is inheritable: only the supervisor gets one
        try:
            spec.log_path.parent.mkdir(parents=True, exist_ok=True)
            with spec.log_path.open("ab") as log:
                self.popen = subprocess.Popen(
                    supervised(spec, reader),
                    stdin=subprocess.PIPE if spec.pipes else subprocess.DEVNULL,
                    stdout=subprocess.PIPE if spec.pipes else log,
                    stderr=log,
                    pass_fds=(reader, *spec.pass_fds),
                    env={**os.environ, **(spec.env or {})},
                    cwd=spec.cwd,
                    bufsize=0,
                )
        except OSError as error:
            self.close()
            raise StepError(f"{self.name} could not be started: {error}; its log would be {spec.log_path}") from error
        finally:
            os.close(reader)
        return self

    @property
    def name(self) -> str:
        """Return the command for messages."""
        return " ".join(self.spec.command)

    @property
    def returncode(self) -> int | None:
        """Return the child's exit code (128 + signal when one ended it); None while its tree is alive."""
        return self.started.returncode

    @property
    def started(self) -> subprocess.Popen[bytes]:
        """Return the supervisor's handle; the process must have been started."""
        assert self.popen is not None, "start() comes first"
        return self.popen

    def poll(self) -> int | None:
        """Return the exit code once the whole tree is gone, None before. Never blocks."""
        return self.started.poll()

    def wait(
        self,
        on_tick: Callable[[], None] | None = None,
        tick_s: float = 0.5,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Block until the child has ended well.

        on_tick is called every tick_s seconds. StepError with the log's last lines when the child fails;
        CancelledError, after the tree was stopped, once cancelled() is true.
        """
        while self.poll() is None:
            self.tick(on_tick, cancelled)
            try:
                self.started.wait(timeout=tick_s)
            except subprocess.TimeoutExpired:
                continue
        self.require_success()

    def tick(self, on_tick: Callable[[], None] | None, cancelled: Callable[[], bool] | None) -> None:
        """Do what is due while waiting; CancelledError, after stopping, when somebody asked for it."""
        if on_tick is not None:
            on_tick()
        if cancelled is not None and cancelled():
            self.stop()
            raise CancelledError("stopped because the run was cancelled; what was done is kept")

    def require_success(self) -> None:
        """Raise StepError unless the child has ended with exit code 0."""
        code = self.returncode
        if code != 0:
            raise StepError(
                f"{self.name} must end with exit code 0, and ended with {explained(code)}. "
                f"Last lines of {self.spec.log_path}:\n{log_tail(self.spec.log_path)}"
            )

    def send_line(
        self,
        line: str,
        on_tick: Callable[[], None] | None = None,
        tick_s: float = 0.5,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Write one line to the child's stdin; StepError with the log's last lines when it no longer reads.

        Ticks and cancels as wait does while the child does not come to reading.
        """
        stdin = self.started.stdin
        assert stdin is not None, "only with ProcessSpec(pipes=True)"
        data = memoryview(line.encode() + b"\n")
        try:
            while data:
                _, writable, _ = select.select([], [stdin], [], tick_s)
                if not writable:
                    self.tick(on_tick, cancelled)
                    continue
                data = data[stdin.write(data[: select.PIPE_BUF]) or 0 :]  # so much never blocks on a writable pipe
        except (BrokenPipeError, ValueError):
            raise self.broken_conversation() from None

    def read_line(
        self,
        on_tick: Callable[[], None] | None = None,
        tick_s: float = 0.5,
        cancelled: Callable[[], bool] | None = None,
    ) -> str | None:
        """Return the next line of the child's stdout without its end; None when there will be no more.

        Ticks and cancels as wait does.
        """
        stdout = self.started.stdout
        assert stdout is not None, "only with ProcessSpec(pipes=True)"
        last_tick = time.monotonic()
        while b"\n" not in self.unread:
            ready, _, _ = select.select([stdout], [], [], tick_s)
            if not ready or time.monotonic() - last_tick >= tick_s:
                self.tick(on_tick, cancelled)
                last_tick = time.monotonic()
            if ready:
                received = os.read(stdout.fileno(), 65_536)
                if not received:
                    return None
                self.unread += received
        line, _, self.unread = self.unread.partition(b"\n")
        return line.decode(errors="replace")

    def broken_conversation(self) -> StepError:
        """Return the error for a child that stopped listening: its exit code and the log's last lines."""
        code = self.stop()
        return StepError(
            f"{self.name} stopped reading its input and ended with {explained(code)}. "
            f"Last lines of {self.spec.log_path}:\n{log_tail(self.spec.log_path)}"
        )

    def finish(self) -> None:
        """Say that no more lines will come, then wait for a good end."""
        self.close_pipes()
        self.wait()

    def stop(self) -> int:
        """End the child's whole tree, politely first; block until it is gone; return the child's exit code."""
        if self.life_fd >= 0:
            os.close(self.life_fd)  # the supervisor takes this for our death, and goes on even if we die now
            self.life_fd = -1
        code = self.started.wait()
        self.close_pipes()
        return code

    def close_pipes(self) -> None:
        """Close stdin; once the child has ended, stdout as well."""
        if self.popen is None:
            return
        pipes = [self.popen.stdin, self.popen.stdout if self.popen.poll() is not None else None]
        for pipe in pipes:
            if pipe is not None:
                pipe.close()

    def close(self) -> None:
        """End the tree if it is alive, and close all descriptors."""
        if self.popen is not None:
            self.stop()
        elif self.life_fd >= 0:
            os.close(self.life_fd)
            self.life_fd = -1

    def __enter__(self) -> SupervisedProcess:
        return self if self.popen is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def supervised(spec: ProcessSpec, life_fd: int) -> list[str]:
    """Return the supervisor's command line: by path and isolated, so that nothing but the standard library loads."""
    options = ["--grace-s", str(spec.grace_s), "--life-fd", str(life_fd)]
    return [sys.executable, "-I", supervisor.__file__, *options, "--", *spec.command]


def explained(code: int | None) -> str:
    """Return an exit code with what it usually means.

    >>> explained(137)
    'exit code 137 (SIGKILL: often out of memory)'
    """
    if code is None or code <= 128:
        return f"exit code {code}"
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return f"exit code {code}"
    hint = ": often out of memory" if name == "SIGKILL" else ": was asked to stop" if name == "SIGTERM" else ""
    return f"exit code {code} ({name}{hint})"


def log_tail(path: Path, num_lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, indented; "(nothing)" when there are none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = deque(file.read().decode(errors="replace").splitlines(), maxlen=num_lines)
    except OSError:
        lines = deque()
    return "\n".join(f"  {line}" for line in lines) or "  (nothing)"
