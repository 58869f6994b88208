"""Simulated students whose true quality is known, as the confusions that the gate sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segcore.trust.confusion import ConfusionTable

NAMES = ("background", "bottle", "can", "battery")


class Scenes:
    """Images with truth areas and a difficulty that all models share; the last class is rare.

    rare: share of the images that show the last class.
    """

    def __init__(self, num_images: int, rare: float, rng: np.random.Generator) -> None:
        shown = rng.random((num_images, len(NAMES))) < 0.6
        shown[:, 0] = True
        shown[:, -1] = rng.random(num_images) < rare
        shown[0, -1] = True
        self.areas = np.where(shown, rng.lognormal(7, 1, shown.shape), 0)
        self.difficulty = rng.normal(0, 1, shown.shape)

    def student(self, rng: np.random.Generator, skill: float | NDArray[np.float64] = 1.0) -> ConfusionTable:
        """Return the confusions of a model of this skill (of each class), with errors of its own on every image."""
        num_images, num_classes = self.areas.shape
        recall = 1 / (1 + np.exp(-(skill + self.difficulty + rng.normal(0, 0.7, self.areas.shape))))
        missed = self.areas * (1 - recall)
        counts = missed[:, :, None] * rng.dirichlet(np.full(num_classes, 0.5), (num_images, num_classes))
        diagonal = np.arange(num_classes)
        counts[:, diagonal, diagonal] += self.areas * recall
        return ConfusionTable(image_ids(num_images), counts.astype(np.int64))


def image_ids(num_images: int) -> tuple[str, ...]:
    """Return ids of images."""
    return tuple(f"val/{index:04d}.jpg" for index in range(num_images))
