"""Predictions written down for somebody: as COCO, index PNGs, overlays, one Parquet file, or competition rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from segcore.data.images import read_image
from segcore.errors import DataError
from segcore.outputs.index_png import png_names, write_index_png
from segcore.outputs.report_pictures import paint_classes
from segcore.outputs.submission import SubmissionSpec, write_submission
from segcore.pseudo.annotations import AnnotationWriter, Origin, annotation_texts
from segcore.pseudo.filtering import whole_prediction
from segcore.pseudo.predictions import Prediction, PredictionWriter, read_predictions, read_sizes
from segcore.records import ClassMap, ImageRecord

Form = Literal["coco", "png", "overlay", "parquet", "csv"]
COCO_FILE, PARQUET_FILE, CSV_FILE = "annotations.json", "predictions.parquet", "predictions.csv"
PNG_FOLDER, OVERLAY_FOLDER = "png", "overlay"


@dataclass(frozen=True)
class Labelled:
    """Predictions to write down.

    files: predictions files. teacher: sha256 of the weights they come from. images: folder of the photos. size: height,
    width in px of the small label maps, for the csv.
    """

    files: tuple[Path, ...]
    classes: ClassMap
    teacher: str
    images: Path
    size: tuple[int, int]

    def predictions(self) -> Iterator[Prediction]:
        """Yield all predictions, image by image, in the order of the files."""
        for path in self.files:
            yield from read_predictions(path)

    @cached_property
    def records(self) -> tuple[ImageRecord, ...]:
        """Return a record of each image, in order of file names."""
        sizes = sorted(size for path in self.files for size in read_sizes(path))
        return tuple(record_of(image_id, height, width) for image_id, height, width in sizes)


def write_parquet(labelled: Labelled, out: Path) -> Path:
    """Write raw label maps and confidences as one file."""
    part = out / f"{PARQUET_FILE}.part"
    with PredictionWriter(part) as writer:
        for prediction in labelled.predictions():
            writer.write(prediction)
    part.replace(out / PARQUET_FILE)
    return out / PARQUET_FILE


def write_coco(labelled: Labelled, out: Path) -> Path:
    """Write a COCO file; every pixel is annotated but for an implicit background, whatever its confidence."""
    origin = Origin(labelled.teacher, 0, (0.0,) * labelled.classes.num_classes)
    part = out / f"{COCO_FILE}.part"
    with AnnotationWriter(part, labelled.records, labelled.classes, origin) as writer:
        for prediction in labelled.predictions():
            whole = whole_prediction(prediction)
            writer.write(prediction.image_id, annotation_texts(whole, labelled.classes, origin))
    part.replace(out / COCO_FILE)
    return out / COCO_FILE


def write_csv(labelled: Labelled, out: Path) -> Path:
    """Write competition rows at the asked-for size, in order of file names."""
    spec = SubmissionSpec(labelled.files, labelled.records, labelled.size, labelled.classes.num_classes)
    part = out / f"{CSV_FILE}.part"
    write_submission(spec, part)
    part.replace(out / CSV_FILE)
    return out / CSV_FILE


def write_pngs(labelled: Labelled, out: Path) -> Path:
    """Write one palette PNG of class ids per image."""
    for prediction, target in with_targets(labelled, out / PNG_FOLDER):
        write_index_png(target, prediction.label_map, labelled.classes.palette)
    return out / PNG_FOLDER


def write_overlays(labelled: Labelled, out: Path) -> Path:
    """Write one PNG per image: the photo in grey with the class colours over it."""
    for prediction, target in with_targets(labelled, out / OVERLAY_FOLDER):
        photo = read_image(labelled.images / prediction.image_id)
        painted = paint_classes(np.ascontiguousarray(photo[..., ::-1]), prediction.label_map, labelled.classes.palette)
        if not cv2.imwrite(str(target), np.ascontiguousarray(painted[..., ::-1])):
            raise DataError(f"{target}: the overlay cannot be written; check permissions and the disk")
    return out / OVERLAY_FOLDER


def with_targets(labelled: Labelled, folder: Path) -> Iterator[tuple[Prediction, Path]]:
    """Yield predictions with the PNG to write, its folder made."""
    names = png_names(record.image_id for record in labelled.records)
    for prediction in labelled.predictions():
        target = folder / names[prediction.image_id]
        target.parent.mkdir(parents=True, exist_ok=True)
        yield prediction, target


def record_of(file_name: str, height: int, width: int) -> ImageRecord:
    """Return the record of an image that belongs to no run."""
    return ImageRecord(file_name, "", file_name, "", width, height, "", "", "unlabeled")


WRITERS: dict[Form, Callable[[Labelled, Path], Path]] = {
    "coco": write_coco,
    "png": write_pngs,
    "overlay": write_overlays,
    "parquet": write_parquet,
    "csv": write_csv,
}
