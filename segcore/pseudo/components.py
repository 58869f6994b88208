"""Connected components of a label map and their run lengths, from one pass over all classes.

A column of the map is cut into runs of one class; runs of neighbouring columns that touch are linked, and linked runs
are a component. There are some thousand runs where there are some hundred thousand pixels, and COCO's run lengths,
which go down the columns, follow from them at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.records import IGNORE_INDEX


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of a label map: pixels of one class below each other. They cover it in column-major order.

    shape: (H, W) of the map. start, end: (R,) int64 column-major positions, [start, end). class_id: (R,) uint8.
    component: (R,) int64, index of the first run that it is connected with; diagonal neighbours are
    connected (8-connectivity), so that thin slanted objects stay one.
    """

    shape: tuple[int, int]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    class_id: NDArray[np.uint8]
    component: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Components:
    """The components of a label map, by class id (ignore is last), then by their first pixel in column-major order.

    All ignored pixels are one component, wherever they are. shape: (H, W) of the map. class_id, area_px: (K,) int64.
    bbox: (K, 4) int64 x, y, width, height in px.
    run_start, run_end: (R,) int64 column-major positions, [start, end), by component, then position; a run may go on
    in the next column. first_run: (K + 1,) int64, component k has the runs first_run[k] to first_run[k + 1].
    """

    shape: tuple[int, int]
    class_id: NDArray[np.int64]
    area_px: NDArray[np.int64]
    bbox: NDArray[np.int64]
    run_start: NDArray[np.int64]
    run_end: NDArray[np.int64]
    first_run: NDArray[np.int64]


def find_components(label_map: NDArray[np.uint8], min_px: int = 0) -> tuple[NDArray[np.uint8], Components]:
    """Return a label map without its components of fewer than min_px pixels, and the components of that map.

    label_map: (H, W) uint8 class ids, 255 = ignore, not empty. What is too small becomes ignore.
    """
    runs = find_runs(label_map)
    length = runs.end - runs.start
    area_px = np.bincount(runs.component, length)  # exact: float64 counts to 2^53
    small = (area_px[runs.component] < min_px) & (runs.class_id != IGNORE_INDEX)
    if small.any():
        class_id = np.where(small, np.uint8(IGNORE_INDEX), runs.class_id)
        runs = Runs(runs.shape, runs.start, runs.end, class_id, runs.component)
        label_map = cv2.transpose(np.repeat(class_id, length).reshape(runs.shape[::-1]))
    return label_map, group(runs)


def find_runs(label_map: NDArray[np.uint8]) -> Runs:
    """Return the runs of a label map, (H, W) uint8, and which of them are connected."""
    height, width = label_map.shape
    columns = cv2.transpose(label_map).reshape(width, height)
    begins = np.ones(columns.shape, bool)
    np.not_equal(columns[:, 1:], columns[:, :-1], out=begins[:, 1:])
    start = np.flatnonzero(begins)
    end = np.append(start[1:], columns.size)
    class_id = columns.ravel()[start]
    return Runs((height, width), start, end, class_id, connect(start, end, class_id, height))


def connect(
    start: NDArray[np.int64], end: NDArray[np.int64], class_id: NDArray[np.uint8], height: int
) -> NDArray[np.int64]:
    """Return the first run of each run's component: (R,) int64. The arguments are as in Runs."""
    num_left = int(np.searchsorted(start, end[-1] - height))  # runs that have a column to their right
    top = start[:num_left] // height * height
    first_row = np.maximum(start[:num_left] - 1, top)  # one row more at either end, for the diagonal neighbours
    last_row = np.minimum(end[:num_left], top + height - 1)
    first = np.searchsorted(start, first_row + height, "right") - 1
    num_beside = np.searchsorted(start, last_row + height, "right") - first
    run = np.repeat(np.arange(num_left), num_beside)
    beside = np.arange(len(run)) - np.repeat(np.cumsum(num_beside) - num_beside - first, num_beside)
    linked = np.flatnonzero(class_id[run] == class_id[beside])
    return first_connected(run[linked], beside[linked], len(start))


def first_connected(left: NDArray[np.int64], right: NDArray[np.int64], num: int) -> NDArray[np.int64]:
    """Return the smallest number that each of 0 … num - 1 is connected with: (num,) int64.

    left, right: (L,) int64, the pairs that are linked. Union-find on all pairs at once: the root of the one side is
    hung under that of the other where it is smaller, paths are shortened to their roots, and so again with the pairs
    that are still apart, of which there are few after the first time.
    """
    root = np.arange(num)
    while len(left):
        np.minimum.at(root, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(shorter := root[root], root):
            root = shorter
        left, right = root[left], root[right]
        apart = left != right
        left, right = left[apart], right[apart]
    return root


def group(runs: Runs) -> Components:
    """Return the components that runs are of."""
    num_runs = len(runs.start)
    component = np.where(runs.class_id == IGNORE_INDEX, 0, runs.component)
    key = runs.class_id * np.int64(num_runs) + component
    order = np.argsort(key, kind="stable")
    first = np.flatnonzero(np.diff(key[order], prepend=-1))
    start, end = runs.start[order], runs.end[order]
    height = runs.shape[0]
    x = start // height
    y, bottom = start - x * height, end - x * height
    low_x, low_y = x[first], np.minimum.reduceat(y, first)
    last = np.append(first[1:], num_runs)
    bbox = np.stack([low_x, low_y, x[last - 1] + 1 - low_x, np.maximum.reduceat(bottom, first) - low_y], axis=1)
    area_px = np.add.reduceat(end - start, first)
    class_id = runs.class_id[order][first].astype(np.int64)
    return Components(runs.shape, class_id, area_px, bbox, start, end, np.append(first, num_runs))


def sum_over(components: Components, levels: NDArray[np.uint8], table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of table[level] over each component: (K,) float64.

    levels: (H, W) uint8. table: (256,) float64.
    """
    values = cv2.LUT(cv2.transpose(levels), table).ravel()
    order = np.argsort(components.run_start)
    sums = np.empty(len(order))
    sums[order] = np.add.reduceat(values, components.run_start[order])
    return np.asarray(np.add.reduceat(sums, components.first_run[:-1]))


def covered(components: Components, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of some components: (H, W) bool. chosen: (K,) bool."""
    of_run = np.repeat(chosen, np.diff(components.first_run))
    steps = np.zeros(components.shape[0] * components.shape[1] + 1, np.int8)
    np.add.at(steps, components.run_start[of_run], 1)
    np.add.at(steps, components.run_end[of_run], -1)
    return steps[:-1].cumsum(dtype=np.int8).view(np.bool_).reshape(components.shape[::-1]).T


def run_lengths(components: Components) -> Iterator[NDArray[np.uint32]]:
    """Yield the COCO run lengths of each component in turn.

    Each: (N,) uint32, lengths of alternating runs of absence and presence in column-major order, starting with absence
    (perhaps 0); they add up to H * W.
    """
    num_pixels = components.shape[0] * components.shape[1]
    begins, ends, first = merged(components)
    num_components = len(first) - 1
    component = np.repeat(np.arange(num_components), np.diff(first))
    at = 2 * np.arange(len(begins)) + component  # each component has a pair a run and, after them, what is left
    counts = np.empty(2 * len(begins) + num_components, np.uint32)
    before = np.concatenate([[0], ends[:-1]])
    before[first[:-1]] = 0
    counts[at], counts[at + 1] = begins - before, ends - begins
    bounds = 2 * first + np.arange(num_components + 1)
    counts[bounds[1:] - 1] = num_pixels - ends[first[1:] - 1]
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        yield counts[low : high if counts[high - 1] else high - 1]


def merged(components: Components) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return start and end of runs, those joined that follow each other in one component, and first_run of these."""
    start, end = components.run_start, components.run_end
    begins = np.ones(len(start), bool)
    np.not_equal(start[1:], end[:-1], out=begins[1:])
    begins[components.first_run[:-1]] = True
    run_index = np.flatnonzero(begins)
    last = np.append(run_index[1:], len(start)) - 1
    return start[run_index], end[last], np.searchsorted(run_index, components.first_run)
