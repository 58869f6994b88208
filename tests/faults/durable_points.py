"""Every durable point of a piece of work, found while it runs: whatever changes names or bytes below a folder.

Found are all calls that Python itself reports (sys.addaudithook: open for writing, rename, link, mkdir, remove …), the
moment after a file was opened, os.fsync, and os.write before and half-way. Files that libraries write natively lie
between two such points.
"""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHANGES = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.utime",
}  # fmt: skip
FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

Visit = Callable[[str, Callable[[], object]], None]  # what happens, and what a process that dies here still does


def nothing() -> None:
    """Do nothing: the process dies before the call."""


class DurablePoints:
    """Calls visit at every durable point below root, for the rest of this process's life."""

    def __init__(self, root: Path, visit: Visit) -> None:
        self.root = str(root)
        self.visit = visit
        self.visiting = False

    def listen(self) -> None:
        """Begin; there is no end, so this is for a process of its own."""
        sys.addaudithook(self.on_event)
        os.fsync = self.around_fsync(os.fsync)
        os.write = self.around_write(os.write)
        builtins.open = io.open = self.around_open(builtins.open)

    @contextmanager
    def once(self) -> Iterator[bool]:
        """Keep what visit itself does from being visited; yield whether this is a point."""
        if self.visiting:
            yield False
            return
        self.visiting = True
        try:
            yield True
        finally:
            self.visiting = False

    def meet(self, what: str, path: object, last_act: Callable[[], object] = nothing) -> None:
        """Visit a point if it lies below root."""
        with self.once() as first:
            if first and (name := os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else "").startswith(
                self.root
            ):
                self.visit(f"{what} {name[len(self.root) + 1 :]}", last_act)

    def on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take what Python reports."""
        if event in CHANGES or (event == "open" and (arguments[2] or 0) & FOR_WRITING):
            self.meet(event, arguments[0])

    def around_open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Return open with a point after it: the file is there, empty or as it was."""

        def call(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            opened = real(file, mode, *arguments, **options)
            if set(mode) & set("wax+"):
                self.meet("opened", file)
            return opened

        return call

    def around_fsync(self, real: Callable[[int], None]) -> Callable[[int], None]:
        """Return fsync with a point before it."""

        def call(descriptor: int) -> None:
            self.meet("fsync", path_of(descriptor))
            real(descriptor)

        return call

    def around_write(self, real: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        """Return write with a point before it and one half-way, whose bytes are taken back."""

        def call(descriptor: int, data: Any) -> int:
            self.meet("write", path_of(descriptor))
            if str(path_of(descriptor)).startswith(self.root) and not self.visiting:
                size, position = os.fstat(descriptor).st_size, os.lseek(descriptor, 0, os.SEEK_CUR)
                half = bytes(data)[: len(data) // 2]
                self.meet("half-written", path_of(descriptor), lambda: real(descriptor, half))
                with self.once():
                    os.ftruncate(descriptor, size)
                    os.lseek(descriptor, position, os.SEEK_SET)
            return real(descriptor, data)

        return call


def path_of(descriptor: int) -> str:
    """Return the path of an open file; of a pipe, something that is none."""
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
