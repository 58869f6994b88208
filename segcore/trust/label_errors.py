"""Ground truth that is probably wrong: where a model that never saw an image is surely of another opinion.

Confident learning (Northcutt, Jiang, Chuang, "Confident learning", JAIR 2021) pixel by pixel: a class is surely
predicted where its confidence is at least the mean confidence it has where it is right. The predictions must be out of
fold: a model that was trained on a wrong label repeats it. Of each pixel only the predicted class and its confidence
are known, so the mean is taken over the pixels where prediction and label agree, which is a stricter threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segcore.pseudo.confidence import NUM_LEVELS, count_levels, dequantise, level_for
from segcore.records import IGNORE_INDEX

NEVER_SURE = NUM_LEVELS  # level of a class that was never predicted rightly: no pixel reaches it


@dataclass(frozen=True)
class Suspicion:
    """How much of an image's truth a model surely contradicts.

    num_pixels: with a label. num_sure: of them, surely predicted as another class. given, suggested: the classes that
    most of those have and would get; num_pair: how many; both None, and 0, where nothing is contradicted.
    """

    image_id: str
    num_pixels: int
    num_sure: int
    given: int | None
    suggested: int | None
    num_pair: int

    @property
    def share(self) -> float:
        """Return the share of the labelled pixels that are surely contradicted, in [0, 1]."""
        return self.num_sure / self.num_pixels if self.num_pixels else 0.0


def agreeing_levels(
    truth: NDArray[np.uint8], label_map: NDArray[np.uint8], levels: NDArray[np.uint8], num_classes: int
) -> NDArray[np.int64]:
    """Count pixels whose prediction is their label, by class and level: (C, 256) int64. All maps: (H, W) uint8."""
    agree = truth == label_map
    return count_levels(label_map[agree], levels[agree], num_classes)


def sure_levels(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the level from which a class is surely predicted: (C,) integers, 256 for a class that never was right.

    counts: (C, 256), what agreeing_levels gives, summed over all images.
    """
    confidence = dequantise(np.arange(NUM_LEVELS))
    totals = counts.sum(axis=1)
    means = np.divide(counts @ confidence, totals, out=np.ones(len(counts)), where=totals > 0)
    return np.array([level_for(mean) if total else NEVER_SURE for mean, total in zip(means, totals, strict=True)])


def suspicion(
    image_id: str,
    truth: NDArray[np.uint8],
    label_map: NDArray[np.uint8],
    levels: NDArray[np.uint8],
    sure: NDArray[np.int64],
) -> Suspicion:
    """Return how much of an image's truth is surely contradicted. Maps: (H, W) uint8, truth may be 255; sure: (C,)."""
    labelled = truth != IGNORE_INDEX
    given, suggested = truth[labelled].astype(np.int64), label_map[labelled].astype(np.int64)
    contradicted = (given != suggested) & (levels[labelled] >= sure[suggested])
    pairs = np.bincount(given[contradicted] * len(sure) + suggested[contradicted], minlength=len(sure) ** 2)
    largest = int(pairs.argmax())
    if not pairs[largest]:
        return Suspicion(image_id, given.size, 0, None, None, 0)
    first, second = divmod(largest, len(sure))
    return Suspicion(image_id, given.size, int(contradicted.sum()), first, second, int(pairs[largest]))


def ranked(found: Sequence[Suspicion]) -> tuple[Suspicion, ...]:
    """Return the images with anything contradicted, the largest share first; equal ones in order of their id."""
    return tuple(sorted((item for item in found if item.num_sure), key=lambda item: (-item.share, item.image_id)))
