"""What alarms do to pseudo-labels: a class keeps its last good ones, or only the surest of its new ones.

Works on the filtered label maps, with the teacher's confidence beside them, so that it follows every way of filtering.
A frozen class takes its pixels from the label maps of the round that were good: what this round calls it elsewhere is
ignored, and where the two disagree the older label stays, since a class that dies does so by being called something
else. A pixel that two frozen classes claim, from two rounds, is ignored.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.data.label_maps import LabelMaps, encode
from segcore.pseudo.annotations import AnnotationWriter, Origin, annotation_texts
from segcore.pseudo.build import (
    ANNOTATIONS,
    LABEL_MAPS,
    QUALITY,
    THRESHOLDS,
    num_workers,
    write_chunks,
    write_json,
)
from segcore.pseudo.chunks import Chunk, FilteredChunk, kept_levels, plan_chunks, read_chunk
from segcore.pseudo.confidence import LEVEL_EDGES, NO_LEVEL, NUM_LEVELS, level_for
from segcore.pseudo.filtering import pseudo_label
from segcore.pseudo.predictions import Prediction
from segcore.pseudo.quality import QualityTally, quality_card
from segcore.pseudo.stored import StoredPredictions
from segcore.pseudo.thresholds import Thresholds
from segcore.pseudo.workers import Workers
from segcore.records import IGNORE_INDEX, ClassMap, ImageRecord


@dataclass(frozen=True)
class FrozenClass:
    """A class whose pseudo-labels are those of an earlier round.

    label_maps: of that round; predictions: what they were filtered from. teacher: sha256 of the weights that made
    them; tau: the threshold they passed.
    """

    class_id: int
    label_maps: Path
    predictions: tuple[Path, ...]
    teacher: str
    round_index: int
    tau: float


@dataclass(frozen=True)
class GuardSpec:
    """What is to be guarded.

    draft: folder of the round's pseudo-labels as filtered. predictions: what they were filtered from. cut: thresholds
    with those of raised classes already raised, and of frozen ones as they were. previous: label maps of the last
    round, for churn. confidence: whether training wants the teacher's confidence in each pixel.
    """

    draft: Path
    predictions: tuple[Path, ...]
    images: tuple[ImageRecord, ...]
    class_map: ClassMap
    cut: Thresholds
    frozen: tuple[FrozenClass, ...]
    teacher: str
    min_component_px: int
    previous: Path | None
    quality: dict[str, Any]
    confidence: bool = False


def raised_level(counts: NDArray[np.int64], level: int, share: float) -> int:
    """Return the lowest level that at most `share` of the pixels reach of those that reach `level`; 256 if none does.

    counts: (256,) pixels of the class by level. Pixels of one level are kept or dropped together.
    """
    reached = np.cumsum(counts[::-1])[::-1]
    most = share * (reached[level] if level < NUM_LEVELS else 0)
    few = np.flatnonzero(reached <= most)
    return max(level, int(few[0])) if few.size else NO_LEVEL


def raised(cut: Thresholds, class_ids: Sequence[int], counts: NDArray[np.int64], share: float) -> Thresholds:
    """Return thresholds with those of some classes raised. counts: (C, 256) pixels of the pool by class and level."""
    level, tau = list(cut.level), list(cut.tau)
    for class_id in class_ids:
        level[class_id] = raised_level(counts[class_id], level[class_id], share)
        tau[class_id] = 1.0 if level[class_id] == NO_LEVEL else float(LEVEL_EDGES[level[class_id]])
    return replace(cut, level=tuple(level), tau=tuple(tau))


def as_frozen(cut: Thresholds, frozen: Sequence[FrozenClass]) -> Thresholds:
    """Return thresholds with those of frozen classes as they were when their labels were made."""
    level, tau = list(cut.level), list(cut.tau)
    for item in frozen:
        level[item.class_id], tau[item.class_id] = level_for(item.tau), item.tau
    return replace(cut, level=tuple(level), tau=tuple(tau))


def guard_map(
    draft: NDArray[np.uint8],
    levels: NDArray[np.uint8],
    lowest: Sequence[int],
    older: Mapping[int, NDArray[np.uint8] | None],
) -> NDArray[np.uint8]:
    """Return a label map after freezing and raising.

    draft: (H, W) uint8, 255 = ignore. levels: (H, W) uint8 confidence. lowest: C levels, 0..256. older: by frozen
    class id, the good label map of the image, (H, W) uint8; None where that round had none.
    """
    result = draft.copy()
    limits = np.full(256, 0, np.int16)
    limits[: len(lowest)] = lowest
    result[(levels < limits[draft]) & (draft != IGNORE_INDEX)] = IGNORE_INDEX
    result[np.isin(draft, list(older))] = IGNORE_INDEX
    claims = np.zeros(draft.shape, np.uint8)
    for class_id, good in older.items():
        if good is not None and good.shape == draft.shape:
            result[good == class_id] = class_id
            claims += good == class_id
    result[claims > 1] = IGNORE_INDEX
    return result


@dataclass(frozen=True)
class GuardJob:
    """What becomes of a chunk; pickled to workers."""

    spec: GuardSpec
    origin: Origin


def guard_chunk(job: GuardJob, chunk: Chunk) -> FilteredChunk:
    """Return the guarded pseudo-labels of a chunk, encoded and counted."""
    spec = job.spec
    tally = QualityTally(spec.class_map.num_classes)
    label_maps, annotations, confidence = [], [], []
    drafts, previous = maps_of(spec.draft / LABEL_MAPS), None if spec.previous is None else maps_of(spec.previous)
    opened = {item.label_maps: maps_of(item.label_maps) for item in spec.frozen}
    for image, prediction in read_chunk(chunk):
        older = {item.class_id: label_map_in(opened[item.label_maps], image.image_id) for item in spec.frozen}
        label_map = guard_map(drafts[image.image_id], prediction.confidence, spec.cut.level, older)
        levels = guarded_levels(spec, prediction, label_map)
        label = pseudo_label(Prediction(image.image_id, prediction.label_map, levels), label_map, spec.min_component_px)
        tally.add(label, label_map_in(previous, image.image_id))
        label_maps.append(encode(image.image_id, label.label_map))
        annotations.append(annotation_texts(label, spec.class_map, job.origin))
        if spec.confidence:
            confidence.append(encode(image.image_id, kept_levels(label.label_map, levels)))
    return FilteredChunk(tuple(label_maps), tuple(annotations), tally, tuple(confidence))


def guarded_levels(spec: GuardSpec, prediction: Prediction, label_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the confidence of a guarded label map, (H, W) uint8: in frozen classes that of the teacher they are of."""
    levels = prediction.confidence.copy()
    for item in spec.frozen:
        stored = stored_predictions(item.predictions)
        if prediction.image_id in stored:
            pixels = label_map == item.class_id
            levels[pixels] = stored[prediction.image_id].confidence[pixels]
    return levels


def label_map_in(maps: LabelMaps | None, image_id: str) -> NDArray[np.uint8] | None:
    """Return the label map of an image, (H, W) uint8; None without one."""
    return None if maps is None or image_id not in maps else maps[image_id]


@functools.lru_cache(maxsize=8)
def maps_of(path: Path) -> LabelMaps:
    """Return a file of label maps, opened once in a process: its index of ids is large."""
    return LabelMaps(path)


@functools.lru_cache(maxsize=8)
def stored_predictions(paths: tuple[Path, ...]) -> StoredPredictions:
    """Return an older labelling, opened once in a process."""
    return StoredPredictions(paths)


def build_guarded(spec: GuardSpec, out_dir: Path) -> dict[str, Any]:
    """Write the same files as build_pseudo_labels (segcore/pseudo/build.py), guarded; return the same value."""
    maps_of.cache_clear()  # a round may have been made anew under its old name
    stored_predictions.cache_clear()
    drafts = maps_of(spec.draft / LABEL_MAPS)  # without the images that are not reliable enough for this round
    pool = {image.image_id: image for image in spec.images if image.image_id in drafts}
    num_classes = spec.class_map.num_classes
    chunks = tuple(chunk for path in spec.predictions for chunk, _ in plan_chunks(path, pool, num_classes))
    images = tuple(image for chunk in chunks for image in chunk.images)
    older = {item.class_id: (item.teacher, item.round_index, item.tau) for item in spec.frozen}
    origin = Origin(spec.teacher, spec.cut.round_index, spec.cut.tau, older)
    tally = QualityTally(num_classes)
    with (
        Workers(num_workers(images, len(chunks))) as workers,
        AnnotationWriter(out_dir / ANNOTATIONS, images, spec.class_map, origin) as writer,
    ):
        guarded = workers.in_order(functools.partial(guard_chunk, GuardJob(spec, origin)), chunks)
        write_chunks(out_dir, guarded, tally, writer)
    rows = spec.quality["classes"]
    predicted_px = np.array([row["predicted_pixels"] for row in rows], np.int64)
    shares = [row["truth_share"] for row in rows]
    card = quality_card(tally, spec.cut, predicted_px, None if None in shares else shares)
    write_json(out_dir / THRESHOLDS, spec.cut.to_json())
    write_json(out_dir / QUALITY, card)
    return {"num_images": len(images), "num_annotations": writer.num_annotations, "coverage": card["coverage"]}
