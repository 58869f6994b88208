"""One writer per run: an flock on a descriptor that child processes inherit.

The kernel drops the lock when the last process that holds the descriptor is gone, so there is no time-out to guess and
no stale lock to remove; a trainer that outlived its owner still holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from segcore.errors import RunError, RunLockedError
from segcore.store.durable import make_folders
from segcore.store.layout import RunLayout

PATIENCE_S = 0.3  # a status query holds the lock for microseconds; a real writer holds it for hours
PAUSE_S = 0.03


@dataclass(frozen=True)
class Holder:
    """Who took the lock, as written into LOCK for people. since: UTC, ISO 8601."""

    pid: int
    host: str
    command: str
    since: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since} ({self.command})"


class RunLock:
    """The right to write into a run folder, held until release or until every process that inherited it is gone.

    Pass descriptor to child processes (pass_fds), so that no second writer comes in while one of them is alive.
    """

    def __init__(self, run_dir: Path, descriptor: int) -> None:
        self.run_dir = run_dir
        self.descriptor = descriptor

    def release(self) -> None:
        """Give up this process's share of the lock; children that inherited it keep theirs. May be called twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_run(run_dir: Path, command: Sequence[str] | None = None) -> RunLock:
    """Become the run's only writer, creating its folder if needed.

    command: what to tell others who ask; None takes this process's command line. RunLockedError, within half a second
    and before anything is touched, when somebody else is.
    """
    path = RunLayout(run_dir).lock_file
    try:
        make_folders(run_dir)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"{path} must be writable, and is not ({error.strerror}); check permissions or disk") from error
    try:
        if not try_lock(descriptor, fcntl.LOCK_EX, PATIENCE_S):
            raise RunLockedError(locked_message(run_dir))
        write_holder(descriptor, sys.argv if command is None else command)
        os.set_inheritable(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return RunLock(run_dir, descriptor)


def refuse_if_locked(run_dir: Path) -> None:
    """Raise RunLockedError when somebody works on a run now: an early answer, before the lock is needed."""
    if lock_holder(run_dir) is not None:
        raise RunLockedError(locked_message(run_dir))


def lock_holder(run_dir: Path) -> Holder | None:
    """Return who works on a run now; None when nobody does. Changes nothing."""
    path = RunLayout(run_dir).lock_file
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        free = try_lock(descriptor, fcntl.LOCK_SH, patience_s=0.0)
    finally:
        os.close(descriptor)
    return None if free else read_holder(path)


def try_lock(descriptor: int, operation: int, patience_s: float) -> bool:
    """Try to flock for patience_s; return whether it worked."""
    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(PAUSE_S)
        else:
            return True


def write_holder(descriptor: int, command: Sequence[str]) -> None:
    """Note in LOCK who holds it; for people only, so that a full disk does not matter."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = Holder(os.getpid(), socket.gethostname(), " ".join(command), since)
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, (json.dumps(asdict(holder)) + "\n").encode(), 0)


def read_holder(path: Path) -> Holder:
    """Return who LOCK says took it; placeholders where it cannot be read."""
    try:
        fields = json.loads(path.read_bytes())
        return Holder(int(fields["pid"]), str(fields["host"]), str(fields["command"]), str(fields["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder(pid=0, host="unknown host", command="unknown command", since="unknown time")


def locked_message(run_dir: Path) -> str:
    """Return what the second writer is told."""
    path = RunLayout(run_dir).lock_file
    holder = read_holder(path)
    alive = processes_with(path)
    message = f"{run_dir} must be free to be written to, and is held by {holder}"
    if holder.host == socket.gethostname() and alive and holder.pid not in alive:
        pids = ", ".join(str(pid) for pid in alive)
        return f"{message}, which is gone, and now by the processes it left: {pids}; wait for them to end, or end them"
    return f"{message}; wait for it, stop it, or use another run_id"


def processes_with(path: Path) -> list[int]:
    """Return the ids of other processes on this machine that have path open, as far as we may look."""
    target = path.resolve()
    others = {int(name) for name in (entry.name for entry in Path("/proc").iterdir()) if name.isdigit()} - {os.getpid()}
    return sorted(pid for pid in others if has_open(pid, target))


def has_open(pid: int, target: Path) -> bool:
    """Return whether a process has a file open; False for processes that end meanwhile or are not ours to look at."""
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if link.readlink() == target:
                    return True
    return False
