"""How far long work is, told to whoever listens: the task layer shows it in Prefect. Nothing depends on a listener."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainProgress:
    """One line of a training.

    place: its step, e.g. "round_01/student". loss: mean since the last line. eta_s: seconds left; None: not known.
    """

    place: str
    iteration: int
    num_iterations: int
    loss: float
    lr: float
    eta_s: float | None


@dataclass(frozen=True)
class LabelProgress:
    """One labelling, over all of its shards. place: e.g. "round_01/labels".

    num_done: of num_images, those of reused shards included. num_new: labelled by this process. seconds: since it
    began with the first of them.
    """

    place: str
    num_images: int
    num_done: int
    num_new: int
    num_shards: int
    num_shards_done: int
    num_shards_reused: int
    seconds: float

    @property
    def images_per_s(self) -> float | None:
        """Return the images labelled per second by this process; None before the first."""
        return self.num_new / self.seconds if self.num_new and self.seconds > 0 else None

    @property
    def eta_s(self) -> float | None:
        """Return the seconds left at this rate; None while the rate is not known."""
        rate = self.images_per_s
        return None if rate is None else (self.num_images - self.num_done) / rate


Progress = TrainProgress | LabelProgress
listeners: list[Callable[[Progress], None]] = []


def report(progress: Progress) -> None:
    """Tell every listener; one that raises is dropped with a warning, and the work goes on."""
    for listener in tuple(listeners):
        try:
            listener(progress)
        except Exception as error:
            logger.warning("progress is not shown any more: %s: %s", type(error).__name__, error)
            if listener in listeners:
                listeners.remove(listener)
