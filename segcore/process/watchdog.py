"""When a child that stands still or was killed is started again, and when that is given up.

Time is the monotonic clock's and decides only when a process is ended: it goes on from its newest checkpoint, so no
result depends on it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from segcore.errors import StepError
from segcore.process.supervisor import STOP_SIGNALS

logger = logging.getLogger(__name__)

LONGEST_TICK_S = 10.0  # of a longer pause between two looks no more counts: we did not run either, e.g. were frozen
CHECKPOINTS = "iteration_*.pth"  # in a resume folder (segcore/nn/resume_files.py)

Signs = tuple[tuple[str, int, int], ...]


class StalledError(StepError):
    """A child gave no sign of life for too long."""


class StallWatch:
    """Tells a child that stands still from one that is slow; time counts from the start and from each sign of life."""

    def __init__(self, stall_s: float, watched: Sequence[Path] = ()) -> None:
        """Watch files, and the files in folders, for any change; without them, only alive() is a sign of life."""
        self.stall_s = stall_s
        self.watched = watched
        self.signs = signs_of_life(watched)
        self.last_look = time.monotonic()
        self.quiet_s = 0.0

    def alive(self) -> None:
        """Begin to count anew: the child has said something."""
        self.quiet_s = 0.0

    def check(self) -> None:
        """Raise StalledError once there was no sign of life for stall_s. To be called every few seconds."""
        now, signs = time.monotonic(), signs_of_life(self.watched)
        self.quiet_s += min(now - self.last_look, LONGEST_TICK_S)
        self.last_look = now
        if signs != self.signs:
            self.signs = signs
            self.alive()
        elif self.quiet_s >= self.stall_s:
            raise StalledError(
                f"no sign of life for {self.stall_s / 60:.3g} min (runtime.stall_minutes)"
                + "".join(f", nothing new in {path}" for path in self.watched)
            )


def signs_of_life(paths: Sequence[Path]) -> Signs:
    """Return name, size and time of change of files and of the files in folders; what is not there is left out."""
    files = [file for path in paths for file in (path.iterdir() if path.is_dir() else (path,))]
    found = []
    for file in sorted(files):
        try:
            status = file.stat()
        except OSError:
            continue
        found.append((str(file), status.st_size, status.st_mtime_ns))
    return tuple(found)


class Resumes:
    """How often a training was started again without getting anywhere. limit: how often it may be."""

    def __init__(self, resume_dir: Path, limit: int) -> None:
        self.resume_dir = resume_dir
        self.limit = limit
        self.furthest = newest_checkpoint(resume_dir)
        self.in_vain = 0

    def allow(self, failure: StepError) -> int:
        """Return the iteration that a training goes on from after a failure; StepError when it may not any more."""
        newest = newest_checkpoint(self.resume_dir)
        if newest > self.furthest:
            self.furthest, self.in_vain = newest, 0
        if self.in_vain >= self.limit:
            raise StepError(
                f"training must get past its checkpoint of iteration {self.furthest}, and did not in {self.in_vain} "
                f"resumes (runtime.max_resumes); the last time: {failure}\n"
                "Remove the cause and start the run again: it goes on from that checkpoint. "
                "If it was only slow, raise runtime.stall_minutes"
            )
        self.in_vain += 1
        return newest


def newest_checkpoint(resume_dir: Path) -> int:
    """Return the iteration of the newest resume checkpoint, 0 when there is none."""
    numbers = (path.stem.rpartition("_")[2] for path in resume_dir.glob(CHECKPOINTS))
    return max((int(number) for number in numbers if number.isdigit()), default=0)


def was_killed(returncode: int | None) -> bool:
    """Return whether a signal ended a child that nobody asked to stop, e.g. the out-of-memory killer's.

    An ordinary error would come again, and a child that was told to stop shall not be started again. Negative codes
    are of the supervisor itself: what it watched may still be alive.
    """
    return returncode is not None and returncode > 128 and returncode - 128 not in STOP_SIGNALS
