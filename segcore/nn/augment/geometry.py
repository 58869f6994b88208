"""Resize, crop, flip, turn: what moves pixels, done alike to image and label map."""

from __future__ import annotations

import cv2
import numpy as np

from segcore.nn.augment.example import Box, Example, LabelMap
from segcore.records import IGNORE_INDEX

CROP_TRIES = 10


def resized(example: Example, longer_px: float) -> Example:
    """Return an example resized to a longer side, keeping its proportions."""
    height, width = size_with(example.label_map, longer_px)
    if (height, width) == (example.height, example.width):
        return example
    image = np.asarray(cv2.resize(example.image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    weight = example.pixel_weight
    return Example(
        image,
        resized_map(example.label_map, longer_px),
        None if weight is None else resized_map(weight, longer_px),
    )


def resized_map(values: LabelMap, longer_px: float) -> LabelMap:
    """Return a map in another size without new values: class ids must not be interpolated, 0|8 would give 4."""
    height, width = size_with(values, longer_px)
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def size_with(values: LabelMap, longer_px: float) -> tuple[int, int]:
    """Return the (height, width) px, at least 1, that a map with that longer side has."""
    scale = longer_px / max(values.shape)
    return max(round(values.shape[0] * scale), 1), max(round(values.shape[1] * scale), 1)


def cropped(
    example: Example, size: int, max_share: float, rng: np.random.Generator, wanted_class: int | None = None
) -> Example:
    """Return a random crop of at most size px, drawn again up to 10 times while one class covers max_share of it.

    wanted_class: the crop is one of those around a random pixel of the class; None, or without such a pixel: any.
    """
    wanted = np.flatnonzero(example.label_map == wanted_class) if wanted_class is not None else ()
    for _ in range(CROP_TRIES):
        row, column = divmod(int(rng.choice(wanted)), example.width) if len(wanted) else (None, None)
        top, left = crop_start(example.height, size, row, rng), crop_start(example.width, size, column, rng)
        window: Box = (slice(top, top + size), slice(left, left + size))
        if example.height <= size and example.width <= size:
            break
        if largest_share(example.label_map[window]) < max_share:
            break
    return example.mapped(lambda values: values[window])


def crop_start(length: int, size: int, around: int | None, rng: np.random.Generator) -> int:
    """Draw where a crop of size px begins on a side of length px; around: what it must not miss."""
    last = max(length - size, 0)
    if around is None:
        return int(rng.integers(last + 1))
    return int(rng.integers(max(around - size + 1, 0), min(around, last) + 1))


def largest_share(label_map: LabelMap) -> float:
    """Return the share of labelled pixels that the largest class covers; 0 where all is ignored."""
    counts = np.bincount(label_map.ravel(), minlength=256)[:IGNORE_INDEX]
    return float(counts.max() / counts.sum()) if counts.any() else 0.0


def flipped(example: Example) -> Example:
    """Return the mirror image."""
    return example.mapped(lambda values: values[:, ::-1])


def turned(example: Example, rng: np.random.Generator) -> Example:
    """Return an example turned by 90, 180 or 270 degrees: as Albumentations' RandomRotate90 does."""
    turn = (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE)[rng.integers(3)]
    return example.mapped(lambda values: np.asarray(cv2.rotate(values, turn), np.uint8))
