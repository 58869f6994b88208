"""A training's progress on its way to people: every line to the listeners, a few to the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from segcore.progress import TrainProgress, report

logger = logging.getLogger(__name__)

LINE_SHARE = 0.1  # of a training between two log lines, at least
LINE_S = 30.0  # between two log lines, at least


class TrainingNews:
    """Passes the lines of one attempt at a training on. place: its step, e.g. "round_01/student"."""

    def __init__(self, place: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.place = place
        self.clock = clock
        self.logged: tuple[int, float] | None = None  # iteration and time of the last log line

    def tell(self, line: Mapping[str, Any]) -> None:
        """Report a line of progress.jsonl; log the first, the last, and between them what LINE_SHARE and LINE_S let."""
        eta_s = line.get("eta_s")
        progress = TrainProgress(
            place=self.place,
            iteration=int(line["iteration"]),
            num_iterations=int(line["num_iterations"]),
            loss=float(line["loss"]),
            lr=float(line["lr"]),
            eta_s=None if eta_s is None else float(eta_s),
        )
        report(progress)
        now_s = self.clock()
        if self.is_due(progress, now_s):
            self.logged = (progress.iteration, now_s)
            logger.info("%s", line_of(progress))

    def is_due(self, progress: TrainProgress, now_s: float) -> bool:
        """Return whether progress is worth a log line."""
        if self.logged is None or progress.iteration >= progress.num_iterations:
            return True
        iteration, logged_s = self.logged
        far_enough = progress.iteration - iteration >= LINE_SHARE * progress.num_iterations
        return far_enough and now_s - logged_s >= LINE_S


def line_of(progress: TrainProgress) -> str:
    """Return progress as one line for people."""
    left = progress.num_iterations > progress.iteration and progress.eta_s is not None
    minutes, seconds = divmod(round(progress.eta_s or 0), 60)
    return (
        f"  iteration {progress.iteration}/{progress.num_iterations}  loss {progress.loss:.4f}  lr {progress.lr:.1e}"
        + (f"  ETA {minutes}:{seconds:02d}" if left else "")
    )
