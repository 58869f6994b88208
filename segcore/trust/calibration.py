"""Is a pixel of confidence 0.9 right nine times in ten? Reliability diagrams and calibration errors of a teacher.

All of it comes from the histograms of calib images. The expected calibration error (ECE) is the mean difference of
confidence and accuracy over 15 bins with equal shares of the pixels (Nguyen and O'Connor 2015; bins of equal width
would put most pixels of a sure teacher into one). "After" is what one temperature leaves of it, measured out of fold:
an image's confidences are scaled by the temperature of the other four fifths of calib. Intervals are over images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.pseudo.histograms import CalibHistogram
from segcore.records import Interval
from segcore.trust.bootstrap import interval
from segcore.trust.precision import precision, precision_bound
from segcore.trust.temperature import fit_temperature, scaled_levels

Floats = NDArray[np.float64]

NUM_BINS = 15
NUM_FOLDS = 5
NUM_DRAWS = 1000
TAIL = 0.025  # 95 % intervals


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells of a calib histogram, of one class or of all: (K,) each. before, after: confidence; after: None unknown."""

    image_index: NDArray[np.int64]
    level: NDArray[np.int64]
    count: NDArray[np.int64]
    correct: NDArray[np.int64]
    before: Floats
    after: Floats | None

    def select(self, chosen: NDArray[np.bool_]) -> Cells:
        """Return some of the cells, their images numbered anew."""
        image_index = np.unique(self.image_index[chosen], return_inverse=True)[1]
        after = None if self.after is None else self.after[chosen]
        rest = (self.level[chosen], self.count[chosen], self.correct[chosen], self.before[chosen])
        return Cells(image_index, *rest, after)

    @property
    def num_images(self) -> int:
        """Return how many images have a cell."""
        return int(self.image_index.max(initial=-1)) + 1


def calibration_card(histogram: CalibHistogram, class_names: Sequence[str], seed: int) -> dict[str, Any]:
    """Return the calibration of a teacher as a JSON object: over all pixels, and of each class it predicts.

    temperature: fitted on all of calib. Each entry has num_images, num_pixels, accuracy, confidence (mean), ece
    {"before", "after"} with their intervals, and bins; None where there is nothing to tell it from. All but the
    temperature and the counts are in [0, 1].
    """
    folds = fold_of_images(len(histogram.image_ids))
    cells = cells_of(histogram, folds)
    rng = np.random.default_rng([seed % 2**63, 4])
    return {
        "temperature": temperature_of(histogram, np.ones(len(folds), bool)),
        "all": entry(cells, rng),
        "classes": [
            {"name": name, **entry(cells.select(histogram.class_id == class_id), rng)}
            for class_id, name in enumerate(class_names)
        ],
    }


def fold_of_images(num_images: int) -> NDArray[np.int64]:
    """Return the fold of each image: (N,) int64. Folds are blocks in the order of ids, so that frames stay together."""
    return np.arange(num_images) * min(NUM_FOLDS, num_images) // max(1, num_images)


def temperature_of(histogram: CalibHistogram, images: NDArray[np.bool_]) -> float:
    """Return the temperature of some images. images: (N,) bool."""
    chosen = images[histogram.image_index]
    pooled = [
        np.bincount(histogram.level[chosen], values[chosen], 256) for values in (histogram.count, histogram.correct)
    ]
    return fit_temperature(pooled[0].astype(np.int64), pooled[1].astype(np.int64))


def cells_of(histogram: CalibHistogram, folds: NDArray[np.int64]) -> Cells:
    """Return all cells, scaled out of fold; a single image has no others, and is not scaled."""
    after = None
    if len(folds) > 1:
        tables = [scaled_levels(temperature_of(histogram, folds != fold)) for fold in range(int(folds.max()) + 1)]
        after = np.stack(tables)[folds[histogram.image_index], histogram.level]
    before = scaled_levels(1.0)[histogram.level]
    counts = (histogram.count, histogram.correct)
    return Cells(histogram.image_index, histogram.level, *counts, before, after)


def entry(cells: Cells, rng: np.random.Generator) -> dict[str, Any]:
    """Return what calib says of some cells."""
    num_pixels = int(cells.count.sum())
    counts = {"num_images": cells.num_images, "num_pixels": num_pixels}
    if not num_pixels:
        return {**counts, "accuracy": None, "confidence": None, "ece": {"before": None, "after": None}, "bins": []}
    bins = bin_of_levels(np.bincount(cells.level, cells.count, 256))[cells.level]
    after = None if cells.after is None else asdict(calibration_error(cells, cells.after, bins, rng))
    return {
        **counts,
        "accuracy": float(cells.correct.sum() / num_pixels),
        "confidence": float(cells.count @ cells.before / num_pixels),
        "ece": {"before": asdict(calibration_error(cells, cells.before, bins, rng)), "after": after},
        "bins": diagram(cells, bins),
    }


def bin_of_levels(count: NDArray[np.number]) -> NDArray[np.int64]:
    """Return the bin of each level, so that bins hold about equal shares of the pixels: (256,) int64 in [0, 15).

    count: (256,) pixels. Levels are not divided; one that holds more than a share leaves bins empty.
    """
    middle = np.cumsum(count) - count / 2
    return np.asarray(middle * NUM_BINS / count.sum(), np.int64)


def by_image(cells: Cells, bins: NDArray[np.int64], values: NDArray[np.number]) -> Floats:
    """Return the sums of values by image and bin: (N, 15) float64."""
    place = cells.image_index * NUM_BINS + bins
    sums: Floats = np.bincount(place, values, cells.num_images * NUM_BINS).astype(np.float64)
    return sums.reshape(-1, NUM_BINS)


def calibration_error(cells: Cells, confidence: Floats, bins: NDArray[np.int64], rng: np.random.Generator) -> Interval:
    """Return the ECE of given confidences with its 95 % interval over images (Bayesian bootstrap, widened for few).

    confidence: (K,). Noise is counted as error, in the resamples once more: with few images all three are too high.
    """
    gaps = by_image(cells, bins, cells.count * confidence - cells.correct)
    pixels = by_image(cells, bins, cells.count).sum(axis=1)
    weights = rng.standard_exponential((NUM_DRAWS, len(gaps)))
    draws = np.abs(weights @ gaps).sum(axis=1) / (weights @ pixels)
    found = interval(float(np.abs(gaps.sum(axis=0)).sum() / pixels.sum()), draws, TAIL, len(gaps), 1.0)
    return Interval(found.point, max(found.low, 0.0), min(found.high, 1.0))


def diagram(cells: Cells, bins: NDArray[np.int64]) -> list[dict[str, float | None]]:
    """Return the points of a reliability diagram, the least sure bin first; bins without pixels are left out.

    confidence, calibrated: mean before and after scaling. accuracy, with low and high (95 % over images, as the bound
    of segcore/trust/precision.py). share: of the pixels.
    """
    counts = [by_image(cells, bins, values).round().astype(np.int64) for values in (cells.count, cells.correct)]
    count, correct = counts
    total = count.sum(axis=0)
    sums = {"confidence": cells.before, "calibrated": cells.after}
    columns: dict[str, Floats | None] = {
        name: None if values is None else by_image(cells, bins, cells.count * values).sum(axis=0) / np.maximum(total, 1)
        for name, values in sums.items()
    }
    columns |= {
        "accuracy": precision(count, correct),
        "low": precision_bound(count, correct, TAIL),
        "high": 1 - precision_bound(count, count - correct, TAIL),
        "share": total / total.sum(),
    }
    return [
        {name: None if values is None else float(values[b]) for name, values in columns.items()}
        for b in np.flatnonzero(total)
    ]
