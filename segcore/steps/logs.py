"""The logs that a run's child processes write, found by place. Standard library only, as status."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from segcore.errors import RunError
from segcore.store.layout import LOGS
from segcore.store.lock import lock_holder
from segcore.store.verify import has_key

LOOK_S = 0.5
SUFFIX = ".log"


@dataclass(frozen=True)
class Log:
    """One log. place: as in the run folder, e.g. round_01/student. changed_ns: when it was last written to."""

    place: str
    path: Path
    num_bytes: int
    changed_ns: int


def run_logs(run_dir: Path, place: str | None = None) -> tuple[Log, ...]:
    """Return the logs of a run, or those of a place and of all below it, the one written to last at the end."""
    root = run_dir / LOGS
    found = []
    for path in root.rglob(f"*{SUFFIX}"):
        name = path.relative_to(root).as_posix().removesuffix(SUFFIX)
        own = name.rpartition(".")[0] if has_key(name) else name
        if place is None or own == place or own.startswith(place.rstrip("/") + "/"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found.append(Log(own, path, status.st_size, status.st_mtime_ns))
    return tuple(sorted(found, key=lambda log: (log.changed_ns, log.path)))


def newest_log(run_dir: Path, place: str | None = None) -> Log:
    """Return the log written to last; RunError, which names the places there are, when there is none."""
    logs = run_logs(run_dir, place)
    if logs:
        return logs[-1]
    there = ", ".join(sorted({log.place for log in run_logs(run_dir)})) or "none yet"
    wanted = "a log" if place is None else f"a log of {place}"
    raise RunError(
        f"{run_dir} must have {wanted}, and has none; places with logs: {there}. A step that was reused has none, and "
        "all that one labelling process did is in the log of the step that started it"
    )


def last_lines(path: Path, num_lines: int) -> list[str]:
    """Return the last lines of a log without their ends."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=num_lines)]


def followed(run_dir: Path, place: str | None, num_lines: int) -> Iterator[str]:
    """Yield lines for as long as somebody works on the run: the newest log's last ones, then what is added.

    When another log of the run, or of the place, is written to, it goes on there under a header. Without any log it
    waits for the first; RunError when nobody works on the run.
    """
    positions: dict[Path, int] = {}
    shown: Path | None = None
    working = True
    while working:
        working = lock_holder(run_dir) is not None  # looked at first, so that the last words are read too
        if run_logs(run_dir, place) or not working:
            path = newest_log(run_dir, place).path
            first = path not in positions
            lines, positions[path] = lines_from(path, positions.get(path, 0))
            if path != shown:
                yield header(path)
                shown = path
            yield from lines[-num_lines:] if first else lines
        if working:
            time.sleep(LOOK_S)


def header(path: Path) -> str:
    """Return the line above what is shown of a log."""
    return f"==> {path} <=="


def lines_from(path: Path, position: int) -> tuple[list[str], int]:
    """Return the whole lines of a log from a position in bytes on, and the position after them."""
    with path.open("rb") as file:
        file.seek(position)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return whole.decode(errors="replace").splitlines(), position + len(whole)
