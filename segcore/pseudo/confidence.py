"""Confidence as one byte: levels that are even in -ln(1 - p), rounded down.

A trained network is sure of most pixels. Linear steps would put half of them into the six highest levels, where
thresholds are chosen; even steps in -ln(1 - p) keep resolution there (level 255 starts at p = 1 - 1.2e-7).
Because levels are rounded down, a level never claims more confidence than the pixel had.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segcore.errors import StepError

NUM_LEVELS = 256
LEVELS_PER_NAT = 16.0
NO_LEVEL = NUM_LEVELS  # level_for(tau) when no level reaches tau: nothing is kept
OVERSHOOT = 1e-3  # a mean of bf16 softmaxes may exceed 1 by this much

LEVEL_EDGES: NDArray[np.float64] = 0.0 - np.expm1(-np.arange(NUM_LEVELS) / LEVELS_PER_NAT)
"""Smallest confidence of each level: (256,) float64, rising from 0; a level holds [edge, next edge)."""


def quantise(confidence: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return the level of each confidence: floor(-16 ln(1 - p)), at most 255.

    confidence: any shape, float, in [0, 1]. Returns uint8 of that shape. Comparing with a table instead of taking
    the logarithm makes `dequantise(quantise(p)) <= p` exact. NaN or values outside [0, 1] raise StepError.
    """
    if confidence.size and not (confidence.min() >= -OVERSHOOT and confidence.max() <= 1 + OVERSHOOT):
        raise StepError(
            f"confidence must be in [0, 1], got {confidence.min()} … {confidence.max()}; "
            "the checkpoint's output is not a probability: check its weights and the precision it runs in"
        )
    levels = np.searchsorted(LEVEL_EDGES[1:], confidence.ravel().astype(np.float64), side="right")
    return levels.astype(np.uint8).reshape(confidence.shape)


def dequantise(levels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the smallest confidence of each level: 1 - exp(-level / 16).

    levels: any shape, integers 0..255. Returns float64 of that shape, in [0, 1).
    """
    return np.asarray(LEVEL_EDGES[levels])


def count_levels(
    label_map: NDArray[np.uint8], levels: NDArray[np.uint8], num_classes: int | None = None
) -> NDArray[np.int64]:
    """Return the pixels by predicted class and level: (C, 256) int64.

    label_map, levels: (H, W) uint8, the class ids under num_classes, which is C; None takes one more than the highest.
    """
    cell = label_map.astype(np.uint16) * np.uint16(NUM_LEVELS) + levels
    num_classes = num_classes or int(label_map.max(initial=0)) + 1
    counts = np.bincount(cell.ravel(), minlength=num_classes * NUM_LEVELS)
    return counts.astype(np.int64, copy=False).reshape(num_classes, NUM_LEVELS)


def level_for(tau: float) -> int:
    """Return the smallest level whose smallest confidence is at least tau, or NO_LEVEL (256) if none is.

    Keeping pixels with `level >= level_for(tau)` therefore never keeps one under tau.
    """
    return int(np.searchsorted(LEVEL_EDGES, tau, side="left"))
