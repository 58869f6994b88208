"""Connected components of a label map and their run lengths."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CONNECTIVITY = 8  # diagonal neighbours belong together, so that thin slanted objects stay one


@dataclass(frozen=True, eq=False)
class Components:
    """Connected components of several classes of one label map, numbered from 1.

    ids: (H, W) int32 component number, 0 where there is none. class_id, area_px: (K,) int64, entry 0 is number 1.
    bbox: (K, 4) int64 x, y, width, height in px.
    """

    ids: NDArray[np.int32]
    class_id: NDArray[np.int64]
    area_px: NDArray[np.int64]
    bbox: NDArray[np.int64]


def find_components(label_map: NDArray[np.uint8], class_ids: Iterable[int]) -> Components:
    """Return the 8-connected components of each of class_ids, in that order.

    label_map: (H, W) uint8.
    """
    ids = np.zeros(label_map.shape, np.int32)
    classes, stats = [np.zeros(0, np.int64)], [np.zeros((0, 5), np.int64)]
    for class_id in class_ids:
        mask = label_map == class_id
        if not mask.any():
            continue
        num, labels, stat, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=CONNECTIVITY)
        ids[mask] = labels[mask] + sum(map(len, classes))
        classes.append(np.full(num - 1, class_id, np.int64))
        stats.append(stat[1:].astype(np.int64))
    stat = np.concatenate(stats)
    return Components(ids, np.concatenate(classes), stat[:, cv2.CC_STAT_AREA], stat[:, : cv2.CC_STAT_AREA])


def run_lengths(ids: NDArray[np.int32], num_components: int) -> Iterator[NDArray[np.int64]]:
    """Yield the COCO run lengths of component 1, 2 … num_components, from one pass over the map.

    ids: (H, W) int32. Each yield: (R,) int64, lengths of alternating runs of absence and presence in column-major
    order, starting with absence (perhaps 0); they add up to H * W.
    """
    flat = ids.ravel(order="F")
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    ends = np.append(starts[1:], flat.size)
    order = np.argsort(flat[starts], kind="stable")
    bounds = np.searchsorted(flat[starts][order], np.arange(1, num_components + 2))
    for first, last in itertools.pairwise(bounds):
        runs = order[first:last]
        edges = np.stack([starts[runs], ends[runs]], axis=1).ravel()
        counts = np.diff(edges, prepend=0, append=flat.size)
        yield counts[:-1] if counts[-1] == 0 else counts
