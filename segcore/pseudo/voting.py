"""Hard vote: of several label maps of one image, the class that most of the weight has chosen in each pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segcore.errors import DataError

TIE = 1e-9  # sums of weights that are this close are equal but for rounding

Map = NDArray[np.uint8]


def voted(maps: Sequence[Map], weights: Sequence[float]) -> tuple[Map, NDArray[np.float32]]:
    """Return the weighted majority of label maps and how much of the weight is for it.

    maps: uint8 class ids, all of one shape. weights: positive, one for each map. Returns class ids like the maps, and
    float32 in (0, 1] of the same shape: the share of the weight that chose the class.
    Ties: among the classes with the most weight, the one that the member with the largest weight chose; of members
    with equal weights the one named first decides.
    """
    if len({one.shape for one in maps}) != 1:
        raise DataError(f"label maps that vote must be of one size, got {sorted({one.shape for one in maps})}")
    by_rank = sorted(range(len(maps)), key=lambda member: -weights[member])
    winner = maps[by_rank[0]].copy()
    most = support(winner, maps, weights)
    for member in by_rank[1:]:
        rival = maps[member]
        found = support(rival, maps, weights)
        better = found > most + TIE
        winner[better], most[better] = rival[better], found[better]
    return winner, (most / sum(weights)).astype(np.float32)


def support(chosen: Map, maps: Sequence[Map], weights: Sequence[float]) -> NDArray[np.float64]:
    """Return the weight of all maps that agree with one, pixel by pixel."""
    total = np.zeros(chosen.shape)
    for label_map, weight in zip(maps, weights, strict=True):
        total += weight * (label_map == chosen)
    return total
