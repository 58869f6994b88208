"""A small process between an owner and its child, so that no part of the child's tree ever outlives the owner.

    python -m segcore.process.supervisor --grace-s 60 --life-fd 7 --log FILE -- COMMAND …

It has a session of its own (a terminal's Ctrl-C reaches the owner alone), adopts every orphan of the tree (subreaper,
so that processes with sessions of their own are found too) and watches a pipe whose other end only the owner holds: at
its end of file the owner is gone. Then, or at SIGTERM, SIGINT or SIGHUP, the command gets SIGTERM and the grace time to
finish a checkpoint; its descendants get SIGTERM when the command is gone, at the latest at half of that time (a trainer
cannot save while its data workers are shot); what is left at the end gets SIGKILL. It ends when nothing is left, with
the command's exit code (128 + signal when a signal ended it, 127 when it could not be started).

Other descriptors are passed on to the command, so a run's lock is held as long as any of the tree is alive. Standard
library only: it must start in milliseconds and never fail.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from argparse import REMAINDER, ArgumentParser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
RESET_SIGNALS = (*STOP_SIGNALS, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)
WATCH_S = 1.0  # between looks at the parent while nothing happens
HURRY_S = 0.02  # between looks at the tree while it is being ended
NOT_STARTED = 127


class Supervisor:
    """State of one supervised command."""

    def __init__(self, grace_s: float, life_fd: int | None) -> None:
        self.grace_s = grace_s
        self.life_fd = life_fd
        self.owner = os.getppid()
        self.wake_fd = listen_to_signals()
        self.child = 0  # process id of the command; 0 before it is started
        self.exit_code: int | None = None  # of the command, once it has ended
        self.stopping_since: float | None = None
        self.told: set[int] = set()  # processes that have had SIGTERM

    def run(self, command: Sequence[str]) -> int:
        """Start the command, watch it, end its tree; return the exit code to end with."""
        try:
            self.child = os.posix_spawnp(
                command[0], list(command), dict(os.environ), setsigmask=(), setsigdef=RESET_SIGNALS
            )
        except OSError as error:
            os.write(2, f"{command[0]} could not be started: {error.strerror}\n".encode())
            return NOT_STARTED
        release_standard_streams()
        while self.reap():
            if self.should_stop():
                self.end_tree()
            self.wait()
        return NOT_STARTED if self.exit_code is None else self.exit_code

    def reap(self) -> bool:
        """Collect ended children, adopted ones included; return whether any are left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self.told.discard(pid)  # the number may be given to another process
            if pid == self.child:
                code = os.waitstatus_to_exitcode(status)
                self.exit_code = code if code >= 0 else 128 - code

    def should_stop(self) -> bool:
        """Return whether the tree has to end: it was asked for, the owner is gone, or the command has ended."""
        if self.stopping_since is None and (self.exit_code is not None or os.getppid() != self.owner):
            self.stopping_since = time.monotonic()
        return self.stopping_since is not None

    def end_tree(self) -> None:
        """Send what is due now to each process of the tree."""
        assert self.stopping_since is not None
        waited_s = time.monotonic() - self.stopping_since
        everybody = descendants(os.getpid())
        if waited_s >= self.grace_s:
            for pid in everybody:
                send(pid, signal.SIGKILL)
            return
        all_now = self.exit_code is not None or waited_s >= self.grace_s / 2
        due = everybody if all_now else [self.child]
        for pid in due:
            if pid not in self.told:
                self.told.add(pid)
                send(pid, signal.SIGTERM)

    def wait(self) -> None:
        """Sleep until a signal, the end of the owner, or the next look is due."""
        watched = [self.wake_fd] if self.life_fd is None else [self.wake_fd, self.life_fd]
        ready, _, _ = select.select(watched, [], [], WATCH_S if self.stopping_since is None else HURRY_S)
        asked = self.wake_fd in ready and any(number in STOP_SIGNALS for number in os.read(self.wake_fd, 512))
        orphaned = self.life_fd is not None and self.life_fd in ready and not os.read(self.life_fd, 512)
        if orphaned:
            self.life_fd = None  # at its end of file it would be ready for ever
        if (asked or orphaned) and self.stopping_since is None:
            self.stopping_since = time.monotonic()


def listen_to_signals() -> int:
    """Turn signals into bytes of a pipe; return its reading end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (*STOP_SIGNALS, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reader


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def release_standard_streams() -> None:
    """Leave stdin and stdout to the command, so that their other ends see its end and not ours."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)


def descendants(root: int) -> list[int]:
    """Return the ids of all living processes below root, zombies left out."""
    parents = dict(filter(None, (parent_of(name) for name in os.listdir("/proc") if name.isdigit())))  # noqa: PTH208
    found = [root]
    for pid in found:  # grows while it is walked: breadth first
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def parent_of(name: str) -> tuple[int, int] | None:
    """Return (process id, parent's id) from /proc/<name>/stat; None for zombies and those that are gone."""
    try:
        stat = Path("/proc", name, "stat").read_bytes()
    except OSError:
        return None
    state, parent = stat.rpartition(b")")[2].split()[:2]  # the command's name before it may hold anything
    return None if state in b"ZX" else (int(name), int(parent))


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended meanwhile or changed its user."""
    with suppress(OSError):
        os.kill(pid, number)


def write_to_log(path: str) -> None:
    """Append everything this process and the command print to a file."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program."""
    parser = ArgumentParser(prog="python -m segcore.process.supervisor", description=__doc__)
    parser.add_argument("--grace-s", type=float, default=60.0, help="seconds between SIGTERM and SIGKILL")
    parser.add_argument("--life-fd", type=int, help="reading end of a pipe that only the owner can write to")
    parser.add_argument("--log", help="file that stdout and stderr are appended to")
    parser.add_argument("command", nargs=REMAINDER, help="-- and the command")
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("a command is needed after --")
    if os.getpid() != os.getsid(0):
        os.setsid()
    adopt_orphans()
    if options.life_fd is not None:
        os.set_inheritable(options.life_fd, False)
    if options.log:
        write_to_log(options.log)
    return Supervisor(options.grace_s, options.life_fd).run(command)


if __name__ == "__main__":
    sys.exit(main())
