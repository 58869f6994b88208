"""Intervals of mIoU from per-image confusions, and a paired test of two models on the same images.

Resampling: the Bayesian bootstrap (Rubin, The Annals of Statistics 1981), which weighs every image by a draw from
Exp(1). No weight is 0, so the classes in truth are the same in every resample and no IoU is ever undefined; drawing
images with replacement would lose a class that only two images show in every seventh resample. Few images make
percentile intervals too narrow: their tail is widened as by Hesterberg (The American Statistician 2015, "expanded
percentile"), with the factor that belongs to these weights. A class that one single image shows has no spread between
images at all, which no bootstrap can see. The swap test can, and is exact for two models that are interchangeable:
it swaps their results image by image (Fisher's randomisation test of matched pairs).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from segcore.records import Interval

Floats = NDArray[np.float64]
NORMAL = NormalDist()
DRAWS_IN_TAIL = 20  # resamples that should lie beyond a bound
MAX_RESAMPLES = 20_000
DRAWS_AT_ONCE = 500  # keeps memory flat however many images


@dataclass(frozen=True)
class PairedDraws:
    """Two models under the same resamples. base, other: (R, C) IoU of each class in the class set, in [0, 1]."""

    base: Floats
    other: Floats


def areas_of(counts: NDArray[np.int64], classes: NDArray[np.bool_]) -> Floats:
    """Return hits and union of each image and class.

    counts: (N, C, C) [image, truth, prediction]. classes: (C,) bool, K of them true. Returns (N, 2, K) float64 pixels.
    """
    hits = np.diagonal(counts, axis1=1, axis2=2)
    union = counts.sum(axis=2) + counts.sum(axis=1) - hits
    return np.stack([hits, union], axis=1)[:, :, classes].astype(np.float64)


def iou_of(areas: Floats) -> Floats:
    """Return the IoU of summed areas. areas: (..., 2, K), hits and union, union above 0. Returns (..., K)."""
    iou: Floats = areas[..., 0, :] / areas[..., 1, :]
    return iou


def paired_draws(base: Floats, other: Floats, num_draws: int, rng: np.random.Generator) -> PairedDraws:
    """Weigh the same images at random num_draws times. base, other: (N, 2, K), as areas_of gives them."""
    first, second = [], []
    for size in _blocks(num_draws):
        weights = rng.standard_exponential((size, len(base)))
        first.append(iou_of(np.tensordot(weights, base, 1)))
        second.append(iou_of(np.tensordot(weights, other, 1)))
    return PairedDraws(np.concatenate(first), np.concatenate(second))


def draws_of(areas: Floats, num_draws: int, rng: np.random.Generator) -> Floats:
    """Weigh the images of one model at random num_draws times. areas: (N, 2, K). Returns (num_draws, K) IoU."""
    blocks = [
        iou_of(np.tensordot(rng.standard_exponential((size, len(areas))), areas, 1)) for size in _blocks(num_draws)
    ]
    return np.concatenate(blocks)


def interval(point: float, draws: Floats, tail: float, num_images: int, limit: float) -> Interval:
    """Return the interval with probability `tail` on each side.

    draws: (R,) statistic per resample. limit: the statistic lies in [-limit, limit]; with fewer than two images
    nothing is known of its spread, and that whole range is returned.
    """
    if num_images < 2:
        return Interval(point, -limit, limit)
    widened = widened_tail(tail, num_images)
    low = float(np.quantile(draws, widened, method="lower"))
    high = float(np.quantile(draws, 1 - widened, method="higher"))
    return Interval(point, min(low, point), max(high, point))


def draws_needed(resamples: int, tail: float, num_images: int) -> int:
    """Return how many resamples put DRAWS_IN_TAIL of them beyond a bound: at least `resamples`, at most 20,000."""
    if num_images < 2:
        return resamples
    needed = DRAWS_IN_TAIL / max(widened_tail(tail, num_images), DRAWS_IN_TAIL / MAX_RESAMPLES)
    return max(resamples, min(MAX_RESAMPLES, math.ceil(needed)))


def widened_tail(tail: float, num_images: int) -> float:
    """Return the tail of the resamples at which a bound keeps the error `tail` in spite of few images (two or more).

    Weights from Exp(1) give a mean the variance s^2 (n - 1) / n (n + 1) in place of s^2 / n.
    """
    factor = math.sqrt((num_images + 1) / (num_images - 1))
    return NORMAL.cdf(-factor * student_t(1 - tail, num_images - 1))


def student_t(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t, probability in [0.5, 1).

    Exact for 1 and 2 degrees of freedom, else Abramowitz and Stegun 26.7.5 (0.5 % off at 5 degrees and 0.99).
    """
    if degrees == 1:
        return math.tan(math.pi * (probability - 0.5))
    if degrees == 2:
        return (2 * probability - 1) / math.sqrt(2 * probability * (1 - probability))
    x, v = NORMAL.inv_cdf(probability), degrees
    return (
        x
        + (x**3 + x) / (4 * v)
        + (5 * x**5 + 16 * x**3 + 3 * x) / (96 * v**2)
        + (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / (384 * v**3)
        + (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / (92160 * v**4)
    )


def swap_test(base: Floats, other: Floats, num_draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """Return the chance of a gain, and of a loss, as large as the one seen if the models were interchangeable.

    base, other: (N, 2, K). In each draw every image swaps its two results with probability 1/2.
    """
    total_base, total_other, change = base.sum(axis=0), other.sum(axis=0), other - base
    seen = _gain(total_base, total_other)
    as_high, as_low = 1, 1  # the result itself is one of the possible draws
    for size in _blocks(num_draws):
        moved = np.tensordot(rng.integers(0, 2, (size, len(base))).astype(np.float64), change, 1)
        gains = _gain(total_base + moved, total_other - moved)
        as_high += int((gains >= seen - 1e-12).sum())
        as_low += int((gains <= seen + 1e-12).sum())
    return as_high / (num_draws + 1), as_low / (num_draws + 1)


def _gain(base: Floats, other: Floats) -> Floats:
    """Return the difference of mIoU. A class whose union is 0 here has no pixel in either: equal, hence no gain."""
    unions = (base[..., 1, :] > 0) & (other[..., 1, :] > 0)
    first = np.divide(base[..., 0, :], base[..., 1, :], out=np.zeros_like(base[..., 0, :]), where=unions)
    second = np.divide(other[..., 0, :], other[..., 1, :], out=np.zeros_like(other[..., 0, :]), where=unions)
    gain: Floats = (second - first).mean(axis=-1)
    return gain


def _blocks(num_draws: int) -> Iterator[int]:
    for start in range(0, num_draws, DRAWS_AT_ONCE):
        yield min(DRAWS_AT_ONCE, num_draws - start)
