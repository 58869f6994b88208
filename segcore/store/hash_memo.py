"""Known hashes of unchanged files, so that resuming a run of many gigabytes does not read them all again."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from segcore.store.canonical import file_sha256
from segcore.store.layout import RunLayout

logger = logging.getLogger(__name__)

RACY_NS = 2_000_000_000  # a file changed this recently may change again without its times changing

Identity = tuple[int, ...]  # size, mtime_ns, ctime_ns, inode: what changes when a file does
Entry = tuple[str, Identity, str]  # name, identity, sha256
SHA256_CHARS = 64


class HashMemo:
    """sha256 of files, remembered by size, mtime, ctime and inode in <run>/hash_memo.txt.

    A line is `sha256 size mtime_ns ctime_ns inode name`. The memo is best effort: a line that cannot be read or written
    costs a re-hash, nothing else. It is append-only, so that thousands of shards do not rewrite it thousands of times.
    Safe to use from several threads. Measured with 100,000 images: 17 MB, 0.1 s to load.
    """

    def __init__(self, run_dir: Path) -> None:
        self.layout = RunLayout(run_dir)
        self.lock = threading.Lock()
        self.known: dict[str, str] = read_memo(self.layout.hash_memo)  # sha256 by what follows it in a line

    def sha256(self, path: Path, expected: str) -> str:
        """Return a file's sha256; read the file unless the memo knows it unchanged with the expected hash."""
        name = self.layout.relative(path)
        if self.known_sha256(name, identity_of(path.stat())) == expected:
            return expected
        found, steady = read_steady(path)
        if steady is not None:
            self.remember([(name, steady, found)])
        return found

    def known_sha256(self, name: str, identity: Identity) -> str | None:
        """Return the remembered hash of a file that has this identity now; None when it has to be read."""
        return self.known.get(key_of(name, identity))

    def remember(self, entries: Iterable[Entry]) -> None:
        """Store hashes of files that read_steady found steady; failing to do so is only worth a debug line."""
        known = {key_of(name, identity): sha256 for name, identity, sha256 in entries if "\n" not in name}
        lines = "".join(f"{sha256} {key}\n" for key, sha256 in known.items())
        with self.lock:
            self.known.update(known)
            try:
                with self.layout.hash_memo.open("ab") as file:
                    file.write(lines.encode("utf-8", "surrogateescape"))
            except OSError as error:
                logger.debug("hash memo not written: %s", error)


def key_of(name: str, identity: Identity) -> str:
    """Return what a hash is remembered by."""
    return f"{' '.join(map(str, identity))} {name}"


def read_steady(path: Path) -> tuple[str, Identity | None]:
    """Return a file's sha256, and the identity to remember it by; None when it may change without that changing.

    So it is when the file was changed shortly before it was read (a change right after may leave all times as they
    are, since clocks of file systems tick slowly), when its times lie in the future, or when it changed meanwhile.
    """
    before, started_ns = identity_of(path.stat()), time.time_ns()
    found = file_sha256(path)
    long_unchanged = started_ns - max(before[1:3]) > RACY_NS
    return found, before if long_unchanged and before == identity_of(path.stat()) else None


def identity_of(status: os.stat_result) -> Identity:
    """Return size, mtime_ns, ctime_ns and inode: what changes when a file does."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def read_memo(path: Path) -> dict[str, str]:
    """Return the sha256 of each line by what follows it, the last one winning; lines without one are skipped.

    What a torn line, or two in one, leave is no name with its identity, and so is never asked for.
    """
    try:
        lines = path.read_bytes().decode("utf-8", "surrogateescape").split("\n")
    except OSError:
        return {}
    after = SHA256_CHARS + 1
    return {line[after:]: line[:SHA256_CHARS] for line in lines if line[SHA256_CHARS:after] == " "}


@lru_cache(maxsize=8)
def memo_of(run_dir: Path) -> HashMemo:
    """Return the memo of a run folder, one per process."""
    return HashMemo(run_dir)
