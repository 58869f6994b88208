"""From a teacher's raw predictions to the pseudo-labels of a round: thresholds, label maps, COCO file, quality card."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.config.label_schema import FilterConfig
from segcore.data.label_maps import LabelMapWriter
from segcore.errors import DataError
from segcore.pseudo.annotations import AnnotationWriter, Origin
from segcore.pseudo.chunks import (
    Chunk,
    FilteredChunk,
    FilterJob,
    filter_chunk,
    label_maps_of,
    plan_chunks,
)
from segcore.pseudo.confidence import NUM_LEVELS
from segcore.pseudo.histograms import CalibHistogram
from segcore.pseudo.predictions import read_image_ids
from segcore.pseudo.quality import QualityTally, quality_card
from segcore.pseudo.selection import choice_of, reliable_images
from segcore.pseudo.thresholds import Evidence, thresholds
from segcore.pseudo.workers import Workers
from segcore.records import ClassMap, ImageRecord

PIXELS_WORTH_WORKERS = 1000 * 512 * 512  # some seconds of work; to start workers takes one or two
MAX_WORKERS = 16  # each takes some 200 MB

LABEL_MAPS = "label_maps.arrow"
CONFIDENCE = "confidence.arrow"
ANNOTATIONS = "annotations.json"
THRESHOLDS = "thresholds.json"
QUALITY = "quality.json"


@dataclass(frozen=True)
class PseudoLabelSpec:
    """What pseudo-labels are made of.

    predictions: the teacher's files, in the order of their shards; images that are not in `images` (calib) are passed
    over. images: the pool. teacher: sha256 of its weights. round_index: 1-based round whose student will train on the
    result. truth_share: each class's share of the labelled training pixels; None leaves the comparison out.
    previous: label maps of the last round, for churn; None if there are none. calib: the teacher against the truth.
    confidence: whether training wants the teacher's confidence in each pixel.
    """

    predictions: tuple[Path, ...]
    images: tuple[ImageRecord, ...]
    class_map: ClassMap
    filter: FilterConfig
    teacher: str
    round_index: int
    truth_share: tuple[float, ...] | None
    previous: Path | None
    calib: CalibHistogram
    confidence: bool = False


def build_pseudo_labels(spec: PseudoLabelSpec, out_dir: Path) -> dict[str, Any]:
    """Write label_maps.arrow, annotations.json, thresholds.json and quality.json to out_dir.

    Where it is wanted, confidence.arrow too: the levels (segcore/pseudo/confidence.py) of each label map's pixels.
    Thresholds follow from the histograms that are stored with the predictions. Then one pass over the maps, by as many
    processes as there are cores where there is much to do; what is written does not depend on how many, and is
    written chunk after chunk as it comes. Returns the number of images and annotations, coverage, alarms, the
    classes by what they are promised, and the pool images that are in none of the files: those without a prediction
    ("missing", quarantined while labelling) and those that are not reliable enough for this round ("unreliable").
    """
    label_maps_of.cache_clear()  # the last round may have been made anew under its old name
    reliable = reliable_images(spec.images, spec.predictions, choice_of(spec.filter, spec.round_index))
    chunks, histogram = pool_chunks(replace(spec, images=reliable))
    cut = thresholds(spec.filter, spec.class_map.names, Evidence(histogram, spec.calib), spec.round_index)
    origin = Origin(spec.teacher, spec.round_index, cut.tau)
    job = FilterJob(cut, spec.filter, spec.class_map, origin, spec.previous, spec.confidence)
    tally = QualityTally(spec.class_map.num_classes)
    images = tuple(image for chunk in chunks for image in chunk.images)
    with (
        Workers(num_workers(images, len(chunks))) as workers,
        AnnotationWriter(out_dir / ANNOTATIONS, images, spec.class_map, origin) as writer,
    ):
        filtered = workers.in_order(partial(filter_chunk, job), chunks)
        write_chunks(out_dir, filtered, tally, writer)
    card = quality_card(tally, cut, histogram.sum(axis=1), spec.truth_share)
    write_json(out_dir / THRESHOLDS, cut.to_json())
    write_json(out_dir / QUALITY, card)
    return {
        "num_images": len(images),
        "num_annotations": writer.num_annotations,
        "coverage": card["coverage"],
        "promises": cut.by_promise(),
        **left_out(spec, images),
    }


def left_out(spec: PseudoLabelSpec, images: Sequence[ImageRecord]) -> dict[str, list[str]]:
    """Return the pool images without a label: "missing" have no prediction, "unreliable" wait for a later round."""
    labelled = {image.image_id for image in images}
    without = [image.image_id for image in spec.images if image.image_id not in labelled]
    predicted = {image_id for path in spec.predictions for image_id in read_image_ids(path)} if without else set()
    return {
        "missing": [image_id for image_id in without if image_id not in predicted],
        "unreliable": [image_id for image_id in without if image_id in predicted],
    }


def pool_chunks(spec: PseudoLabelSpec) -> tuple[tuple[Chunk, ...], NDArray[np.int64]]:
    """Return the chunks of the predictions that hold pool images, in the order of the files, and their histogram.

    The histogram: (C, 256) int64, pixels of the pool by predicted class and level.
    """
    pool = {image.image_id: image for image in spec.images}
    chunks: list[Chunk] = []
    total = np.zeros((spec.class_map.num_classes, NUM_LEVELS), np.int64)
    for path in spec.predictions:
        for chunk, histogram in plan_chunks(path, pool, spec.class_map.num_classes):
            chunks.append(chunk)
            total += histogram
    if not chunks:
        raise DataError(
            f"pseudo-labels need predictions of pool images, got none for {len(pool)} images in "
            f"{len(spec.predictions)} files; look into the labelling step's quarantined images"
        )
    return tuple(chunks), total


def num_workers(images: Sequence[ImageRecord], num_chunks: int) -> int:
    """Return how many processes are worth their start."""
    if sum(image.width * image.height for image in images) < PIXELS_WORTH_WORKERS:
        return 1
    return min(len(os.sched_getaffinity(0)), MAX_WORKERS, num_chunks)


def write_chunks(
    out_dir: Path, chunks: Iterable[FilteredChunk], tally: QualityTally, annotations: AnnotationWriter
) -> None:
    """Write label maps, and confidence where chunks have it, as they come, and annotations; count them in tally."""
    with ExitStack() as files:
        label_maps = files.enter_context(LabelMapWriter(out_dir / LABEL_MAPS))
        confidence: LabelMapWriter | None = None
        for chunk in chunks:
            tally.merge(chunk.tally)
            for label_map, texts in zip(chunk.label_maps, chunk.annotations, strict=True):
                annotations.write(label_map.image_id, texts)
                label_maps.write(label_map)
            if chunk.confidence and confidence is None:
                confidence = files.enter_context(LabelMapWriter(out_dir / CONFIDENCE))
            for levels in chunk.confidence:
                assert confidence is not None, "opened with the first"
                confidence.write(levels)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object for people and programs; equal values give equal bytes."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
