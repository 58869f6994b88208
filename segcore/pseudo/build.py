"""From a teacher's raw predictions to the pseudo-labels of a round: thresholds, label maps, COCO file, quality card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.config.schema import FilterConfig
from segcore.data.label_maps import LabelMaps, write_label_maps
from segcore.errors import DataError
from segcore.pseudo.annotations import AnnotationWriter, Origin
from segcore.pseudo.filtering import filter_prediction
from segcore.pseudo.histograms import pool_histogram
from segcore.pseudo.predictions import Prediction, read_image_ids, read_predictions
from segcore.pseudo.quality import QualityTally, quality_card
from segcore.pseudo.thresholds import Thresholds, thresholds
from segcore.records import ClassMap, ImageRecord

LABEL_MAPS = "label_maps.arrow"
ANNOTATIONS = "annotations.json"
THRESHOLDS = "thresholds.json"
QUALITY = "quality.json"


@dataclass(frozen=True)
class PseudoLabelSpec:
    """What pseudo-labels are made of.

    predictions: the teacher's files, in the order of their shards; images that are not in `images` (calib) are passed
    over. images: the pool. teacher: sha256 of its weights. round_index: 1-based round whose student will train on the
    result. truth_share: each class's share of the labelled training pixels; None leaves the comparison out.
    previous: label maps of the last round, for churn; None if there are none.
    """

    predictions: tuple[Path, ...]
    images: tuple[ImageRecord, ...]
    class_map: ClassMap
    filter: FilterConfig
    teacher: str
    round_index: int
    truth_share: tuple[float, ...] | None
    previous: Path | None


def build_pseudo_labels(spec: PseudoLabelSpec, out_dir: Path) -> dict[str, Any]:
    """Write label_maps.arrow, annotations.json, thresholds.json and quality.json to out_dir.

    Two passes over the predictions, one image in memory at a time. Returns the number of images and annotations,
    coverage, alarms, and the pool images without a prediction ("missing", quarantined while labelling), which are in
    none of the files.
    """
    images = predicted_images(spec)
    cut = spec_thresholds(spec, images)
    tally = QualityTally(spec.class_map.num_classes)
    origin = Origin(spec.teacher, spec.round_index, cut.tau)
    with AnnotationWriter(out_dir / ANNOTATIONS, tuple(images.values()), spec.class_map, origin) as writer:
        write_label_maps(out_dir / LABEL_MAPS, pseudo_labels(spec, images, cut, tally, writer))
    card = quality_card(tally, cut, spec.truth_share)
    write_json(out_dir / THRESHOLDS, cut.to_json())
    write_json(out_dir / QUALITY, card)
    missing = [image.image_id for image in spec.images if image.image_id not in images]
    return {
        "num_images": len(images),
        "num_annotations": writer.num_annotations,
        "coverage": card["coverage"],
        "alarms": card["alarms"],
        "missing": missing,
    }


def predicted_images(spec: PseudoLabelSpec) -> dict[str, ImageRecord]:
    """Return the pool images that have a prediction, by image id, in the order of the prediction files."""
    pool = {image.image_id: image for image in spec.images}
    found = (image_id for path in spec.predictions for image_id in read_image_ids(path))
    images = {image_id: pool[image_id] for image_id in found if image_id in pool}
    if not images:
        raise DataError(
            f"pseudo-labels need predictions of pool images, got none for {len(pool)} images in "
            f"{len(spec.predictions)} files; look into the labelling step's quarantined images"
        )
    return images


def spec_thresholds(spec: PseudoLabelSpec, images: dict[str, ImageRecord]) -> Thresholds:
    """Return the round's thresholds; fixed ones too state the coverage to expect."""
    histogram = pool_histogram(spec.predictions, spec.class_map.num_classes, images)
    return thresholds(spec.filter, spec.class_map.names, histogram, spec.round_index)


def pseudo_labels(
    spec: PseudoLabelSpec,
    images: dict[str, ImageRecord],
    cut: Thresholds,
    tally: QualityTally,
    writer: AnnotationWriter,
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield image_id and pseudo-label of every image, counting it in tally and writing its annotations on the way."""
    with nullcontext() if spec.previous is None else closing(LabelMaps(spec.previous)) as before:
        for path in spec.predictions:
            for prediction in read_predictions(path, images):
                check_size(prediction, images[prediction.image_id])
                label_map = filter_prediction(prediction, cut, spec.filter)
                previous = before[prediction.image_id] if before and prediction.image_id in before else None
                tally.add(prediction, label_map, previous)
                writer.write(prediction.image_id, label_map, prediction.confidence)
                yield prediction.image_id, label_map


def check_size(prediction: Prediction, image: ImageRecord) -> None:
    """Raise DataError unless a prediction has the size of its image."""
    height, width = prediction.label_map.shape
    if (height, width) != (image.height, image.width):
        raise DataError(
            f"{image.image_id}: the prediction must be {image.width} x {image.height} px as the image, "
            f"got {width} x {height}; label its shard again"
        )


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object for people and programs; equal values give equal bytes."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
