"""Outputs that stay as they are: made from the same as before, and touched by nobody since."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from segcore.store.canonical import JSON, digest_of
from segcore.store.hash_memo import Identity, identity_of, memo_of


def keep_or_make(run_dir: Path, path: Path, made_from: JSON, make: Callable[[], object]) -> bool:
    """Call make, which puts a file or folder at path, unless what is there was made from the same; return whether.

    made_from: everything that decides what is in it, by content. It is remembered in the run's hash memo with sizes,
    times and inodes of all that was made, so that a lost, added or changed file makes it all be made again. Only for
    what no decision rests on: a change in the very moment in which it was finished would not be noticed.
    """
    memo, name, digest = memo_of(run_dir), f"made:{path.relative_to(run_dir).as_posix()}", digest_of(made_from)
    if memo.known_sha256(name, identity_below(path)) == digest:
        return False
    make()
    memo.remember([(name, identity_below(path), digest)])
    return True


def identity_below(path: Path) -> Identity:
    """Return what changes when a file, or anything in a folder, does; where the folder lies is no part of it."""
    names, own = sorted(files_below(path)), len(str(path))
    lines = "\0".join(f"{name[own:]} {identity_of(os.lstat(name))}" for name in names)
    return len(names), int(hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest(), 16)


def files_below(path: Path) -> list[str]:
    """Return the paths of all files in a folder, as text since there may be a hundred thousand; of a file, its own."""
    if path.is_dir() and not path.is_symlink():
        return [f"{parent}/{name}" for parent, _, names in os.walk(path) for name in names]
    return [str(path)] if os.path.lexists(path) else []
