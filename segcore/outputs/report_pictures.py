"""Pictures of a report as data URIs: the photo, label maps over the photo, confidence."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.outputs.report_data import Overlay
from segcore.records import IGNORE_INDEX

MAX_SIDE_PX = 320
JPEG_QUALITY = 88
COLOUR_SHARE = 0.6  # of a pixel in a label picture; the rest is the photo in grey
STRIPE_PX = 5
STRIPES = np.array([[150, 150, 150], [205, 205, 205]], dtype=np.float32)  # ignore is no class, so it has no colour

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Panel:
    """One picture of a row. uri: data:image/…;base64,…"""

    caption: str
    uri: str


@dataclass(frozen=True)
class PictureRow:
    """The pictures of one overlay, left to right. class_ids: classes shown, for the legend."""

    title: str
    panels: tuple[Panel, ...]
    class_ids: tuple[int, ...]


def picture_row(overlay: Overlay, palette: Sequence[tuple[int, int, int]]) -> PictureRow:
    """Draw image, truth, prediction and confidence of one overlay, at most 320 px on the longer side."""
    photo = shrink(overlay.image, cv2.INTER_AREA)
    panels = [Panel("image", data_uri(photo, ".jpg"))]
    maps = [("truth", overlay.truth), ("prediction", overlay.label_map)]
    for caption, label_map in maps:
        if label_map is not None:
            small = shrink(label_map, cv2.INTER_NEAREST)  # class ids must not be interpolated: 0|8 would give 4
            panels.append(Panel(caption, data_uri(paint_classes(photo, small, palette), ".png")))
    if overlay.confidence is not None:
        panels.append(Panel("confidence", data_uri(paint_confidence(shrink_real(overlay.confidence)), ".png")))
    shown: set[int] = set()
    for _, label_map in maps:
        if label_map is not None:
            shown |= set(np.unique(label_map).tolist())
    return PictureRow(overlay.title, tuple(panels), tuple(sorted(shown - {IGNORE_INDEX})))


def paint_classes(photo: Image, label_map: Image, palette: Sequence[tuple[int, int, int]]) -> Image:
    """Lay class colours over the photo in grey; ignore is striped, classes are outlined.

    photo: (H, W, 3) uint8 RGB. label_map: (H, W) uint8, 255 = ignore. Returns (H, W, 3) uint8 RGB.
    """
    table = np.zeros((256, 3), np.float32)
    table[: len(palette)] = np.array(palette, np.float32).reshape(-1, 3)
    rows, columns = np.indices(label_map.shape)
    stripes = STRIPES[(rows + columns) // STRIPE_PX % 2]
    colour = np.where((label_map == IGNORE_INDEX)[:, :, None], stripes, table[label_map])
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32)[:, :, None]
    mixed = COLOUR_SHARE * colour + (1 - COLOUR_SHARE) * grey
    mixed[outline(label_map)] = 255
    return np.asarray(np.clip(mixed, 0, 255), dtype=np.uint8)


def outline(label_map: Image) -> NDArray[np.bool_]:
    """Return (H, W) bool: pixels whose right or lower neighbour has another class."""
    edge = np.zeros(label_map.shape, bool)
    edge[:, :-1] |= label_map[:, :-1] != label_map[:, 1:]
    edge[:-1] |= label_map[:-1] != label_map[1:]
    return edge


def paint_confidence(confidence: NDArray[np.float32]) -> Image:
    """Colour a confidence map with viridis: (H, W) float32 in [0, 1] to (H, W, 3) uint8 RGB, dark is low."""
    levels = np.clip(np.round(confidence * 255), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def data_uri(picture: Image, suffix: str) -> str:
    """Encode (H, W, 3) uint8 RGB as a JPEG (".jpg") or PNG (".png") data URI."""
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 6]
    done, buffer = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert done
    kind = "jpeg" if suffix == ".jpg" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.tobytes()).decode('ascii')}"


def shrink(picture: Image, interpolation: int, max_side_px: int = MAX_SIDE_PX) -> Image:
    """Return an (H, W[, 3]) uint8 picture with its longer side at most max_side_px."""
    resized = cv2.resize(picture, small_size(picture.shape, max_side_px), interpolation=interpolation)
    return np.asarray(resized, dtype=np.uint8)


def shrink_real(values: NDArray[np.float32], max_side_px: int = MAX_SIDE_PX) -> NDArray[np.float32]:
    """Return an (H, W) float32 map with its longer side at most max_side_px, averaged."""
    size = small_size(values.shape, max_side_px)
    resized = cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.float32)


def small_size(shape: tuple[int, ...], max_side_px: int) -> tuple[int, int]:
    """Return (width, height) with the longer side at most max_side_px, never enlarged."""
    factor = min(1.0, max_side_px / max(shape[:2]))
    return max(1, round(shape[1] * factor)), max(1, round(shape[0] * factor))
