"""What calib tells of pseudo-labels that nobody has looked at: precision, coverage and calibration, with intervals.

By confidence alone: a boundary band, small components and other filters come on top. Pixels of one image are alike, so
intervals count images (segcore/trust/precision.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.pseudo.confidence import LEVEL_EDGES, NUM_LEVELS
from segcore.pseudo.histograms import CalibHistogram
from segcore.pseudo.quality import ratio
from segcore.trust.precision import expected_precision

TAIL = 0.025  # on each side of a 95 % interval
NUM_BINS = 15  # of the expected calibration error, as in Guo et al. 2017


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """Pixels of calib images by predicted class. predicted, kept, correct: (N, C) int64; correct: of the kept."""

    predicted: NDArray[np.int64]
    kept: NDArray[np.int64]
    correct: NDArray[np.int64]


def image_counts(histogram: CalibHistogram, levels: Sequence[int]) -> ImageCounts:
    """Count per image what reaches its class's level. levels: C lowest levels kept, 0..256."""
    shape = (len(histogram.image_ids), len(levels))
    where = (histogram.image_index, histogram.class_id)
    reaches = histogram.level >= np.array(levels)[histogram.class_id]
    predicted, kept, correct = (np.zeros(shape, np.int64) for _ in range(3))
    np.add.at(predicted, where, histogram.count)
    np.add.at(kept, where, histogram.count * reaches)
    np.add.at(correct, where, histogram.correct * reaches)
    return ImageCounts(predicted, kept, correct)


def expected_classes(histogram: CalibHistogram, levels: Sequence[int]) -> list[dict[str, Any]]:
    """Return, per class, what is expected of its pseudo-labels; all shares in [0, 1], None without a pixel.

    precision: right of kept. calib_coverage: kept of predicted. accuracy: right of predicted, whatever the
    confidence. gap: mean confidence minus accuracy; above 0 is overconfident. num_calib: images with such a pixel.
    """
    counts = image_counts(histogram, levels)
    pooled = histogram.pooled(len(levels))
    rows = []
    for class_id in range(len(levels)):
        predicted, kept = counts.predicted[:, class_id], counts.kept[:, class_id]
        count, right = pooled[class_id, :, 0], int(pooled[class_id, :, 1].sum())
        accuracy, confidence = ratio(right, count.sum()), ratio(float(count @ LEVEL_EDGES), count.sum())
        rows.append({
            "precision": interval_of(kept, counts.correct[:, class_id]),
            "calib_coverage": interval_of(predicted, kept),
            "accuracy": accuracy,
            "gap": None if accuracy is None or confidence is None else confidence - accuracy,
            "num_calib": int((predicted > 0).sum()),
        })  # fmt: skip
    return rows


def interval_of(whole: NDArray[np.int64], part: NDArray[np.int64]) -> dict[str, float] | None:
    """Return part of whole with its 95 % interval over images, as JSON; None without a pixel. whole, part: (N,)."""
    shown = whole > 0
    found = expected_precision(whole[shown], part[shown], TAIL)
    return None if found is None else asdict(found)


def calibration_error(histogram: CalibHistogram, num_classes: int) -> float | None:
    """Return the expected calibration error over all calib pixels (Guo et al. 2017), in [0, 1]; None without any.

    Confidence is taken from the stored levels, which round down, so the error has a floor of about 0.01.
    """
    pooled = histogram.pooled(num_classes).sum(axis=0)
    bins = np.minimum((LEVEL_EDGES * NUM_BINS).astype(int), NUM_BINS - 1)
    count = np.bincount(bins, pooled[:, 0], NUM_BINS)
    gaps = np.bincount(bins, pooled[:, 0] * LEVEL_EDGES - pooled[:, 1], NUM_BINS)
    return ratio(float(np.abs(gaps).sum()), float(count.sum()))


def image_levels(histogram: CalibHistogram) -> NDArray[np.float64]:
    """Return the pixels of each calib image by level: (N, 256) float64."""
    levels = np.zeros((len(histogram.image_ids), NUM_LEVELS))
    np.add.at(levels, (histogram.image_index, histogram.level), histogram.count)
    return levels
