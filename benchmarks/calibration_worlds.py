"""Teachers that do not exist: confidences and rights of one class's pixels, with images that are right or wrong as one.

A pixel's confidence follows its image's; whether it is right follows its confidence, after an offset that all pixels
of the image share. The numbers are chosen by hand to be like what segmentation models do, better or worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segcore.pseudo.calib_counts import ClassCounts
from segcore.pseudo.confidence import NUM_LEVELS
from segcore.trust.precision import precision
from segcore.trust.temperature import LEVEL_LOGITS

NUM_TRUTH_IMAGES = 20_000
PIXELS, AREA_SPREAD = 1100.0, 0.7  # median area of the class in an image; log-normal
SUREST, IMAGE_SPREAD, PIXEL_SPREAD = 60.0, 15.0, 25.0  # confidence levels


@dataclass(frozen=True)
class World:
    """Log-odds of being right are those of the confidence, plus offset, plus a normal draw per image.

    failing: share of images in which hardly anything is right, whatever the confidence.
    """

    name: str
    offset: float
    spread: float
    failing: float = 0.0


WORLDS = (
    World("images are alike", 0.5, 0.5),
    World("images differ", 0.3, 1.2),
    World("the teacher is too sure", -1.0, 0.8),
    World("one image in 17 fails", 1.0, 0.5, 0.06),
    World("one image in 8 fails, the rest is right", 20.0, 0.0, 0.125),
)


@dataclass(frozen=True, eq=False)
class Truth:
    """What holds in a world. precision, share: (256,) of pixels at or above each level."""

    precision: NDArray[np.float64]
    share: NDArray[np.float64]


def draw(world: World, num_images: int, rng: np.random.Generator) -> ClassCounts:
    """Return calib's counts of the class on as many images."""
    surest = rng.normal(SUREST, IMAGE_SPREAD, (num_images, 1))
    density = np.exp(-(((np.arange(NUM_LEVELS) - surest) / PIXEL_SPREAD) ** 2) / 2)
    area = PIXELS * np.exp(rng.normal(0, AREA_SPREAD, (num_images, 1)))
    count = rng.poisson(area * density / density.sum(axis=1, keepdims=True))
    odds = LEVEL_LOGITS + world.offset + rng.normal(0, world.spread, (num_images, 1))
    is_right = 1 / (1 + np.exp(-odds))
    is_right *= np.where(rng.random((num_images, 1)) < world.failing, 0.05, 1.0)
    correct = rng.binomial(count, is_right)
    return ClassCounts(*(np.cumsum(cells[:, ::-1], axis=1)[:, ::-1] for cells in (count, correct)))


def truth_of(world: World) -> Truth:
    """Return what holds, from very many images."""
    counts = draw(world, NUM_TRUTH_IMAGES, np.random.default_rng(0))
    total = counts.count.sum(axis=0)
    return Truth(np.nan_to_num(precision(counts.count, counts.correct)), total / total[0])
