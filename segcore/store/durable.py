"""Writing that survives a power cut: data is on disk before a name says that it is there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def sync_file(path: Path) -> None:
    """Block until a file's bytes are on disk."""
    sync_descriptor(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Block until a folder's entries are on disk."""
    sync_descriptor(path, os.O_RDONLY | os.O_DIRECTORY)


def sync_descriptor(path: Path, flags: int) -> None:
    """Open path with flags, fsync it, close it."""
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and block until it is on disk; the name itself is durable after sync_folder of its parent."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Put data under path so that whoever looks, whenever, finds all of the old file or all of the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    remove_left_over(path)
    try:
        write_synced(temporary, data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def place_file(source: Path, target: Path) -> None:
    """Put a copy of source at target, whole or not at all; a hard link where the file system can.

    One that is there stays: linking again would change the source's ctime, and have it hashed at the next start.
    """
    if target.exists() and target.samefile(source):
        return
    temporary = target.with_name(f".{target.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
        sync_file(temporary)
    temporary.replace(target)
    temporary.unlink(missing_ok=True)  # renaming onto another link of the same file does nothing at all


def remove_left_over(path: Path) -> None:
    """Remove the temporary files of processes that died while they replaced path."""
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        if not Path("/proc", temporary.suffixes[-2][1:]).exists():
            temporary.unlink(missing_ok=True)


def make_folders(path: Path) -> None:
    """Create a folder and its missing parents, each durable in its own parent."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_tree(root: Path) -> None:
    """Block until every file and folder under root, root included, is on disk."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            sync_file(Path(folder, name))
        sync_folder(Path(folder))
