"""Segmentations of COCO annotations: polygons and both forms of RLE, checked before pycocotools sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

MAX_COORDINATE = 1e9  # px; NaN compares false, and whole numbers in JSON may exceed any float
MAX_CHARS_PER_COUNT = 6  # 5 bits each: a count of up to 2^29


@dataclass(frozen=True)
class Polygons:
    """The union of polygons, each x0, y0, x1, y1 … in pixels of the annotated image."""

    polygons: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, eq=False)
class Rle:
    """Run lengths of 0s and 1s in turn, column by column. counts: (N,) int64, summing to height * width."""

    height: int
    width: int
    counts: NDArray[np.int64]


Segmentation = Polygons | Rle


def parse_segmentation(value: Any, height: int, width: int) -> Segmentation:
    """Check the `segmentation` of an annotation in an image of (height, width) px; ValueError says what is wrong.

    A polygon may hang over the image's edge, where it is clipped, by less than the image's own size. One that lies
    outside altogether, or reaches further, is wrong: its coordinates belong to another image or scale.
    """
    if isinstance(value, list):
        if not value:
            raise ValueError(
                "segmentation is empty; expected polygons or an RLE, delete the annotation if there is none"
            )
        return Polygons(tuple(_parse_polygon(polygon, height, width) for polygon in value))
    if isinstance(value, dict):
        return _parse_rle(value, height, width)
    raise ValueError(f"segmentation must be a list of polygons or an RLE object, got {type(value).__name__}")


def _parse_polygon(value: Any, height: int, width: int) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) < 6 or len(value) % 2:
        found = f"{len(value)} numbers" if isinstance(value, list) else type(value).__name__
        raise ValueError(f"a polygon must be a list of at least 6 numbers, x and y in turn, got {found}")
    if not all(isinstance(number, int | float) and abs(number) <= MAX_COORDINATE for number in value):
        raise ValueError("a polygon must hold finite numbers only")
    xs, ys = value[0::2], value[1::2]
    low_x, high_x, low_y, high_y = min(xs), max(xs), min(ys), max(ys)
    span = f"x {low_x:g}…{high_x:g}, y {low_y:g}…{high_y:g} for an image of {width}x{height}"
    if high_x <= 0 or high_y <= 0 or low_x >= width or low_y >= height:
        raise ValueError(f"a polygon lies outside the image: {span}")
    if low_x < -width or low_y < -height or high_x > 2 * width or high_y > 2 * height:
        raise ValueError(f"a polygon reaches far outside the image: {span}")
    return tuple(float(number) for number in value)


def _parse_rle(value: dict[str, Any], height: int, width: int) -> Rle:
    if value.get("size") != [height, width]:
        raise ValueError(
            f"an RLE's size must be the image's [height, width] = {[height, width]}, got {value.get('size')}"
        )
    counts = value.get("counts")
    if isinstance(counts, str):
        array = decode_counts(counts)
    elif isinstance(counts, list) and all(isinstance(n, int) and 0 <= n <= height * width for n in counts):
        array = np.asarray(counts, dtype=np.int64)
    else:
        raise ValueError(f"an RLE's counts must be whole numbers from 0 to {height * width}, or a compressed text")
    if array.size and (array.min() < 0 or array.max() > height * width):
        raise ValueError("an RLE's counts decode to a number that is negative or larger than the image; damaged?")
    if int(array.sum()) != height * width:
        raise ValueError(f"an RLE's counts must sum to height * width = {height * width}, got {int(array.sum())}")
    return Rle(height, width, array)


def decode_counts(text: str) -> NDArray[np.int64]:
    """Decode COCO's compressed counts to (N,) int64: 5 bits a character, low first, deltas to the last but one.

    The form is that of rleFrString in pycocotools' maskApi.c, which reads out of bounds on bad text. ValueError here.
    """
    try:
        codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError as error:
        raise ValueError("an RLE's compressed counts must be ASCII text") from error
    if codes.size == 0 or codes.min() < 0 or codes.max() > 63 or codes[-1] & 0x20:
        raise ValueError("an RLE's compressed counts are damaged: a character is out of range or the text ends early")
    ends = np.flatnonzero((codes & 0x20) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > MAX_CHARS_PER_COUNT:
        raise ValueError("an RLE's compressed counts are damaged: a number is too long")
    places = np.arange(codes.size) - np.repeat(starts, lengths)
    deltas = np.add.reduceat((codes & 0x1F) << (5 * places), starts)
    deltas = np.where(codes[ends] & 0x10, deltas - (1 << (5 * lengths)), deltas)
    counts = deltas.copy()
    counts[1::2] = np.cumsum(deltas[1::2])
    counts[2::2] = np.cumsum(deltas[2::2])
    return counts


def to_rle(segmentation: Segmentation, height: int, width: int) -> Rle:
    """Rasterise as pycocotools does; several polygons of one annotation are united, as in COCO."""
    if isinstance(segmentation, Rle):
        return segmentation
    united = coco_mask.merge(coco_mask.frPyObjects([list(p) for p in segmentation.polygons], height, width))
    return Rle(height, width, decode_counts(united["counts"].decode("ascii")))


def area_px(rle: Rle) -> int:
    """Return how many pixels the mask covers."""
    return int(rle.counts[1::2].sum())


def to_mask(rle: Rle) -> NDArray[np.bool_]:
    """Return the mask as (height, width) bool."""
    values = np.arange(rle.counts.size) % 2 == 1
    return np.repeat(values, rle.counts).reshape(rle.width, rle.height).T
