"""Card pseudo-label-preview: some images of a round's pool beside their pseudo-label and its confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.cards.markdown import image, plain, table
from segcore.data.label_maps import LabelMaps
from segcore.outputs.report_data import Overlay
from segcore.outputs.report_pictures import data_uri, paint_classes, paint_confidence, shrink, shrink_real
from segcore.outputs.report_text import percent
from segcore.pseudo.build import LABEL_MAPS
from segcore.records import IGNORE_INDEX, ClassMap, StepOutput
from segcore.steps.index import class_map_of
from segcore.steps.pseudo_labels import FilterSpec
from segcore.steps.report import label_overlays, spread

SIDE_PX = 160
SWATCH_PX = 12
NUM_IMAGES = 5
NUM_CANDIDATES = 40  # label maps that are looked at, of however many
MAX_PICTURE_CHARS = 50_000
MAX_CARD_CHARS = 250_000

KEY = "Striped: ignored. Confidence: dark is low, yellow is high."
HEADER = ("image", "photo", "pseudo-label", "confidence")


def preview(spec: FilterSpec, pseudo_labels: StepOutput) -> str:
    """Return the card of a filtered labelling. Reads NUM_CANDIDATES label maps at most, and NUM_IMAGES images."""
    run = spec.run
    with closing(LabelMaps(run.path / pseudo_labels.path / LABEL_MAPS)) as maps:
        candidates = {image_id: maps[image_id] for image_id in spread(maps.ids(), NUM_CANDIDATES)}
    chosen = {image_id: candidates[image_id] for image_id in from_least_to_most(candidates, NUM_IMAGES)}
    return preview_card(label_overlays(run, spec.index, spec.shards, chosen), class_map_of(run, spec.index))


def from_least_to_most(label_maps: Mapping[str, NDArray[np.uint8]], num: int) -> list[str]:
    """Return at most num image ids at even distances between the least and the most covered, in that order.

    label_maps: (H, W) uint8 by image id, 255 = ignore.
    """
    ordered = sorted(label_maps, key=lambda image_id: (coverage(label_maps[image_id]), image_id))
    if len(ordered) <= num:
        return ordered
    return [ordered[round(place)] for place in np.linspace(0, len(ordered) - 1, num)]


def coverage(label_map: NDArray[np.uint8]) -> float:
    """Return the fraction of pixels that carry a label. label_map: (H, W) uint8, 255 = ignore."""
    return float((label_map != IGNORE_INDEX).mean())


def preview_card(overlays: Sequence[Overlay], classes: ClassMap) -> str:
    """Return a table with a row an image, least covered first, and a legend; at most MAX_CARD_CHARS long."""
    ordered = sorted(overlays, key=lambda item: (coverage(item.label_map), item.title))
    text = legend(ordered, classes)
    rows: list[tuple[str, ...]] = []
    for item in ordered:
        row = picture_cells(item, classes)
        if len(text) + sum(len(cell) for cells in (*rows, row) for cell in cells) <= MAX_CARD_CHARS:
            rows.append(row)
    return f"{table(HEADER, rows, numbers=False)}\n\n{text}\n"


def picture_cells(item: Overlay, classes: ClassMap) -> tuple[str, ...]:
    """Return name and thumbnails of one image."""
    photo = shrink(item.image, cv2.INTER_AREA, SIDE_PX)
    labels = shrink(item.label_map, cv2.INTER_NEAREST, SIDE_PX)  # class ids must not be interpolated: 0|8 would give 4
    assert item.confidence is not None, "pseudo-labels have one"
    confidence = shrink_real(item.confidence, SIDE_PX)
    pictures = (photo, paint_classes(photo, labels, classes.palette), paint_confidence(confidence))
    name = f"{plain(item.title)}<br>{percent(coverage(item.label_map))} kept"
    return (name, *(thumbnail(picture) for picture in pictures))


def thumbnail(picture: NDArray[np.uint8]) -> str:
    """Return a picture as Markdown; a note where it would be too large for the page."""
    uri = data_uri(picture, ".jpg")
    return image(uri) if len(uri) <= MAX_PICTURE_CHARS else "too large to show"


def legend(overlays: Sequence[Overlay], classes: ClassMap) -> str:
    """Return the classes that are in the pictures, each with its colour."""
    shown = sorted({int(class_id) for item in overlays for class_id in np.unique(item.label_map)} - {IGNORE_INDEX})
    rows = [(image(swatch(classes.palette[class_id])), plain(classes.names[class_id])) for class_id in shown]
    return f"{table(('colour', 'class'), rows, numbers=False)}\n\n{KEY}"


def swatch(colour: tuple[int, int, int]) -> str:
    """Return a small square of an RGB colour as data URI."""
    return data_uri(np.full((SWATCH_PX, SWATCH_PX, 3), colour, np.uint8), ".png")
