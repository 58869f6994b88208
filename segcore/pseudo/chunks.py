"""The work on predictions that can be shared out: a chunk of a file at a time, each by itself."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segcore.config.label_schema import FilterConfig
from segcore.data.label_maps import EncodedMap, LabelMaps, encode
from segcore.errors import DataError
from segcore.pseudo.annotations import Origin, annotation_texts
from segcore.pseudo.filtering import filter_prediction
from segcore.pseudo.histograms import pool_histogram
from segcore.pseudo.predictions import Prediction, read_histograms, read_large_maps
from segcore.pseudo.quality import QualityTally
from segcore.pseudo.thresholds import Thresholds
from segcore.records import IGNORE_INDEX, ClassMap, ImageRecord

GROUPS_PER_CHUNK = 4


@dataclass(frozen=True)
class Chunk:
    """Row groups of a predictions file, and the images wanted of them in the file's order."""

    path: Path
    groups: tuple[int, ...]
    images: tuple[ImageRecord, ...]


@dataclass(frozen=True)
class FilterJob:
    """What becomes of a prediction. previous: label maps of the last round, for churn; None if there are none.

    confidence: whether that of the kept pixels is wanted, too.
    """

    thresholds: Thresholds
    filter: FilterConfig
    class_map: ClassMap
    origin: Origin
    previous: Path | None
    confidence: bool


@dataclass(frozen=True, eq=False)
class FilteredChunk:
    """The pseudo-labels of a chunk. annotations: of each label map, as AnnotationWriter.write takes them.

    confidence: the levels of each label map's pixels (kept_levels); none unless they are wanted.
    """

    label_maps: tuple[EncodedMap, ...]
    annotations: tuple[list[str], ...]
    tally: QualityTally
    confidence: tuple[EncodedMap, ...] = ()


def plan_chunks(
    path: Path, pool: Mapping[str, ImageRecord], num_classes: int
) -> Iterator[tuple[Chunk, NDArray[np.int64]]]:
    """Yield the chunks of a predictions file that hold images of the pool; who works on them has no influence.

    Beside each, the pixels of its images by predicted class and level: (C, 256) int64. No map is read.
    """
    groups = enumerate(read_histograms(path))
    while batch := list(itertools.islice(groups, GROUPS_PER_CHUNK)):
        wanted = [row for _, rows in batch for row in rows if row[0] in pool]
        if wanted:
            images = tuple(pool[image_id] for image_id, _ in wanted)
            yield Chunk(path, tuple(group for group, _ in batch), images), pool_histogram(wanted, num_classes)


def read_chunk(chunk: Chunk) -> Iterator[tuple[ImageRecord, Prediction]]:
    """Yield the images of a chunk with their predictions, which must be of their size."""
    images = {image.image_id: image for image in chunk.images}
    for prediction in read_large_maps(chunk.path, chunk.groups, images):
        image = images[prediction.image_id]
        height, width = prediction.label_map.shape
        if (height, width) != (image.height, image.width):
            raise DataError(
                f"{image.image_id}: the prediction must be {image.width} x {image.height} px as the image, "
                f"got {width} x {height}; label its shard again"
            )
        yield image, prediction


def filter_chunk(job: FilterJob, chunk: Chunk) -> FilteredChunk:
    """Return the pseudo-labels of a chunk, encoded and counted."""
    tally = QualityTally(job.class_map.num_classes)
    label_maps, annotations, confidence = [], [], []
    for image, prediction in read_chunk(chunk):
        label = filter_prediction(prediction, job.thresholds, job.filter)
        tally.add(label, last_label_map(job.previous, image.image_id))
        label_maps.append(encode(image.image_id, label.label_map))
        annotations.append(annotation_texts(label, job.class_map, job.origin))
        if job.confidence:
            confidence.append(encode(image.image_id, kept_levels(label.label_map, prediction.confidence)))
    return FilteredChunk(tuple(label_maps), tuple(annotations), tally, tuple(confidence))


def kept_levels(label_map: NDArray[np.uint8], levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the levels of the labelled pixels, 0 elsewhere: (H, W) uint8, flat where nothing is kept."""
    return np.where(label_map == IGNORE_INDEX, np.uint8(0), levels)


def last_label_map(path: Path | None, image_id: str) -> NDArray[np.uint8] | None:
    """Return the label map an image had in the last round, (H, W) uint8; None if it had none."""
    if path is None or image_id not in (label_maps := label_maps_of(path)):
        return None
    return label_maps[image_id]


@functools.lru_cache(maxsize=1)
def label_maps_of(path: Path) -> LabelMaps:
    """Return a file of label maps, opened once in a process: its index of ids is large."""
    return LabelMaps(path)
