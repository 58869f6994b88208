"""A class's pixels on calib by image and threshold: what precision and its bounds are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segcore.pseudo.confidence import NUM_LEVELS
from segcore.pseudo.histograms import CalibHistogram


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """Pixels of calib predicted as one class, on the images that have any; or of all classes pooled.

    count, correct: (N, 256) pixels at or above each level, so that they fall along the second axis; int64, or float64
    where pixels are weighed.
    """

    count: NDArray[np.number]
    correct: NDArray[np.number]

    @property
    def num_images(self) -> int:
        """Return N, the images with a pixel predicted as the class."""
        return len(self.count)


def class_counts(histogram: CalibHistogram, class_id: int) -> ClassCounts:
    """Return the counts of one class; images on which it is not predicted are left out."""
    cells = histogram.class_id == class_id
    image_index, row = np.unique(histogram.image_index[cells], return_inverse=True)
    by_level = np.zeros((2, len(image_index), NUM_LEVELS), np.int64)
    for counts, values in zip(by_level, (histogram.count, histogram.correct), strict=True):
        counts[row, histogram.level[cells]] = values[cells]
    return reaching(by_level)


def pooled_counts(histogram: CalibHistogram) -> ClassCounts:
    """Return the counts of all classes together, each class weighing as much as any other, not as its pixels do."""
    pixels = np.bincount(histogram.class_id, histogram.count)
    by_level = np.zeros((2, len(histogram.image_ids), NUM_LEVELS))
    for counts, values in zip(by_level, (histogram.count, histogram.correct), strict=True):
        np.add.at(counts, (histogram.image_index, histogram.level), values / pixels[histogram.class_id])
    return reaching(by_level)


def reaching(by_level: NDArray[np.number]) -> ClassCounts:
    """Return pixels at or above each level. by_level: (2, N, 256) pixels and correct pixels at each."""
    sums = np.cumsum(by_level[:, :, ::-1], axis=2)[:, :, ::-1]
    return ClassCounts(sums[0], sums[1])
