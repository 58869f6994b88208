"""Known hashes of unchanged files, so that resuming a run of many gigabytes does not read them all again."""

from __future__ import annotations

import json
import logging
import threading
import time
from functools import lru_cache
from pathlib import Path

from segcore.store.canonical import file_sha256
from segcore.store.layout import RunLayout

logger = logging.getLogger(__name__)

RACY_NS = 2_000_000_000  # a file changed this recently may change again without its times changing


class HashMemo:
    """sha256 of files, remembered by size, mtime, ctime and inode in <run>/hash_memo.jsonl.

    The memo is best effort: a line that cannot be read or written costs a re-hash, nothing else. It is append-only,
    so that thousands of shards do not rewrite it thousands of times. Safe to use from several threads.
    """

    def __init__(self, run_dir: Path) -> None:
        self.layout = RunLayout(run_dir)
        self.lock = threading.Lock()
        self.known: dict[str, tuple[list[int], str]] = read_memo(self.layout.hash_memo)

    def sha256(self, path: Path, expected: str) -> str:
        """Return a file's sha256; read the file unless the memo knows it unchanged with the expected hash."""
        identity = identity_of(path)
        name = self.layout.relative(path)
        if self.known.get(name) == (identity, expected):
            return expected
        found = file_sha256(path)
        if identity == identity_of(path) and time.time_ns() - max(identity[1:3]) > RACY_NS:
            self.remember(name, identity, found)
        return found

    def remember(self, name: str, identity: list[int], sha256: str) -> None:
        """Store one hash; failing to do so is only worth a debug line."""
        line = json.dumps([name, identity, sha256]) + "\n"
        with self.lock:
            self.known[name] = (identity, sha256)
            try:
                with self.layout.hash_memo.open("ab") as file:
                    file.write(line.encode("ascii"))
            except OSError as error:
                logger.debug("hash memo not written: %s", error)


def identity_of(path: Path) -> list[int]:
    """Return size, mtime_ns, ctime_ns and inode: what changes when a file does."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def read_memo(path: Path) -> dict[str, tuple[list[int], str]]:
    """Return name to (identity, sha256), the last line of a name winning; unreadable lines are skipped."""
    known: dict[str, tuple[list[int], str]] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return known
    for line in lines:
        try:
            name, identity, sha256 = json.loads(line)
        except (ValueError, TypeError):
            continue
        if isinstance(name, str) and isinstance(identity, list) and isinstance(sha256, str):
            known[name] = (identity, sha256)
    return known


@lru_cache(maxsize=8)
def memo_of(run_dir: Path) -> HashMemo:
    """Return the memo of a run folder, one per process."""
    return HashMemo(run_dir)
