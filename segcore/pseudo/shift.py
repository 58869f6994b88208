"""Does the pool look like the images that calibration was done on? Two samples of images, compared by confidence.

Each image is the distribution of its pixels over confidence. The distance of two sets of images is the largest
difference of their mean distribution functions (as Kolmogorov and Smirnov's, but of means over images, since pixels of
one image are no independent draws); its p-value comes from dividing the images anew at random.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_PERMUTATIONS = 999
LEVELS_PER_BIN = 8


def shift_card(calib: NDArray[np.float64], pool: NDArray[np.float64], seed: int) -> dict[str, Any] | None:
    """Return how far apart calib and pool are, and how often chance does as much; None with under two images a side.

    calib, pool: (N, 256) and (M, 256) pixels by level, an image a row. distance: in [0, 1]; 0.2 says that a share of
    0.2 of the pixels lies on another side of some confidence. p_value: in (0, 1].
    """
    if len(calib) < 2 or len(pool) < 2:
        return None
    curves = np.concatenate([cumulative(calib), cumulative(pool)])
    in_calib = np.zeros(len(curves))
    in_calib[: len(calib)] = 1
    rng = np.random.default_rng([seed % 2**63, 4])
    divisions = np.stack([in_calib, *(rng.permutation(in_calib) for _ in range(NUM_PERMUTATIONS))])
    found = distances(curves, divisions)
    return {
        "distance": float(found[0]),
        "p_value": float((found >= found[0] - 1e-12).mean()),
        "mean_confidence_is": "lower" if direction(curves, len(calib)) > 0 else "higher",
        "num_calib": len(calib),
        "num_pool": len(pool),
    }


def cumulative(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each image's distribution function over confidence: (N, 32), rising to 1. levels: (N, 256) pixels."""
    bins = levels.reshape(len(levels), -1, LEVELS_PER_BIN).sum(axis=2)
    shares: NDArray[np.float64] = np.cumsum(bins, axis=1) / np.maximum(bins.sum(axis=1, keepdims=True), 1)
    return shares


def distances(curves: NDArray[np.float64], divisions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of the two sides of each division. curves: (N, B). divisions: (R, N) of 0 and 1."""
    first = divisions @ curves / divisions.sum(axis=1, keepdims=True)
    second = (1 - divisions) @ curves / (1 - divisions).sum(axis=1, keepdims=True)
    return np.asarray(np.abs(first - second).max(axis=1))


def direction(curves: NDArray[np.float64], num_calib: int) -> float:
    """Return a number over 0 where the pool's confidence is lower than that of calib: more of it lies below."""
    return float((curves[num_calib:].mean(axis=0) - curves[:num_calib].mean(axis=0)).sum())
