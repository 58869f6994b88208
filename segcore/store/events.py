"""What happened in a run, for people and for `segloop status`. No decision is made from it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segcore.store.canonical import JSON, plain
from segcore.store.layout import RunLayout

logger = logging.getLogger(__name__)

UNSYNCED = frozenset({"step_reused"})  # hundreds at each start of a large run, and the next start tells them again


def append_event(run_dir: Path, event: str, **fields: JSON) -> bool:
    """Append one line {"time", "event", …fields} to events.jsonl; return whether it is on disk.

    time: UTC, ISO 8601, informative only. One write per line, so that writers do not mix; synced, unless it is in
    UNSYNCED. Best effort: a full disk costs the line and a warning, never the step.
    """
    record = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **plain(fields)}
    line = (json.dumps(record, allow_nan=False) + "\n").encode("ascii")
    try:
        append_line(RunLayout(run_dir).events_file, line, synced=event not in UNSYNCED)
    except OSError as error:
        logger.warning("event %s not written: %s", event, error)
        return False
    return True


def append_line(path: Path, line: bytes, synced: bool) -> None:
    """Append a line, starting a new one where a power cut left half a line; synced: block until it is on disk."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" + line if torn else line)
        if synced:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_events(run_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a run, oldest first; none when there is no file. Torn or damaged lines are left out."""
    try:
        file = RunLayout(run_dir).events_file.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and "event" in record:
                yield record
