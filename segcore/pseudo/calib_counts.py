"""A class's pixels on calib by image and threshold: what precision and its bounds are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segcore.pseudo.confidence import NUM_LEVELS
from segcore.pseudo.histograms import CalibHistogram


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """Pixels of calib predicted as one class, on the images that have any.

    count, correct: (N, 256) int64 pixels at or above each level, so that they fall along the second axis.
    """

    count: NDArray[np.int64]
    correct: NDArray[np.int64]

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
    reaching = np.cumsum(by_level[:, :, ::-1], axis=2)[:, :, ::-1]
    return ClassCounts(reaching[0], reaching[1])
