"""Label a folder of images with a model, in the form that somebody wants: COCO, PNG, overlay, Parquet or CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np

from segcore.data.folders import list_images
from segcore.data.images import read_image, safe_join
from segcore.errors import ConfigError
from segcore.outputs.index_png import png_names, write_index_png
from segcore.outputs.report_pictures import paint_classes
from segcore.outputs.submission import SubmissionSpec, write_submission
from segcore.process.jobs import PredictImage
from segcore.pseudo.annotations import AnnotationWriter, Origin, annotation_texts
from segcore.pseudo.filtering import whole_prediction
from segcore.pseudo.predictions import Prediction, PredictionWriter, read_image_ids, read_predictions
from segcore.records import ClassMap, ImageRecord, Quarantined
from segcore.steps.model_files import ModelFiles, ModelRequest, ViewRequest, find_model, label_config
from segcore.steps.predict_images import PredictRun, Progress, predict_chunks, workspace
from segcore.store.canonical import file_sha256

Format = Literal["coco", "png", "overlay", "parquet", "csv"]
MAX_MEGAPIXELS = 200.0
COCO_FILE, PARQUET_FILE, CSV_FILE = "annotations.json", "predictions.parquet", "predictions.csv"


@dataclass(frozen=True)
class PredictSpec:
    """A folder to label. format: what is written into out. size: height, width in px of the csv's label maps."""

    model: ModelRequest
    images: str
    out: str
    format: str
    views: ViewRequest
    size: tuple[int, int] = (256, 256)


@dataclass(frozen=True)
class PredictSummary:
    """What was labelled. out: the file or folder that holds it. quarantined: images that could not be."""

    num_images: int
    quarantined: tuple[Quarantined, ...]
    out: str


@dataclass(frozen=True)
class Labelled:
    """Predictions to write down. images: folder of the photos. files: prediction files in order."""

    model: ModelFiles
    classes: ClassMap
    images: Path
    files: tuple[Path, ...]
    size: tuple[int, int]

    def predictions(self) -> Iterator[Prediction]:
        """Yield all predictions, image by image."""
        for path in self.files:
            yield from read_predictions(path)


def predict_folder(spec: PredictSpec) -> PredictSummary:
    """Label every image under a folder and write the results; images that cannot be read are set aside."""
    if spec.format not in get_args(Format):
        raise ConfigError(f"--format must be one of {', '.join(get_args(Format))}, got {spec.format!r}")
    model = find_model(spec.model)
    classes = model.known_classes
    folder, out = Path(spec.images), Path(spec.out)
    keep_apart(folder, out)
    names = [image.file_name for image in list_images(folder, None)]
    small = spec.size if spec.format == "csv" else None
    images = [PredictImage(name, str(safe_join(folder, name).resolve()), small) for name in names]
    out.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    with workspace(out) as work:
        run = PredictRun(
            model, images, classes.num_classes, label_config(model, spec.views), spec.views.device,
            max_megapixels(model), work,
        )  # fmt: skip
        files = tuple(predict_chunks(run, progress))
        written = WRITERS[spec.format](Labelled(model, classes, folder, files, spec.size), out)
    return PredictSummary(progress.num_images, tuple(progress.quarantined), str(written))


def keep_apart(images: Path, out: Path) -> None:
    """Refuse to write among the images: a PNG result would replace the photo of the same name."""
    if out.resolve().is_relative_to(images.resolve()):
        raise ConfigError(f"--out must lie outside the image folder {images}, got {out}; take another folder")


def max_megapixels(model: ModelFiles) -> float:
    """Return the largest image that is decoded, in millions of pixels."""
    return MAX_MEGAPIXELS if model.run is None else model.run.config.data.max_megapixels


def write_parquet(labelled: Labelled, out: Path) -> Path:
    """Write raw label maps and confidences as one file."""
    with PredictionWriter(out / PARQUET_FILE) as writer:
        for prediction in labelled.predictions():
            writer.write(prediction)
    return out / PARQUET_FILE


def write_coco(labelled: Labelled, out: Path) -> Path:
    """Write a COCO file; every pixel is annotated but for an implicit background, whatever its confidence."""
    records = [record_of(p.image_id, p.label_map.shape[:2]) for p in labelled.predictions()]
    origin = Origin(file_sha256(labelled.model.checkpoint), 0, (0.0,) * labelled.classes.num_classes)
    part = out / f"{COCO_FILE}.part"
    with AnnotationWriter(part, records, labelled.classes, origin) as writer:
        for prediction in labelled.predictions():
            whole = whole_prediction(prediction)
            writer.write(prediction.image_id, annotation_texts(whole, labelled.classes, origin))
    part.replace(out / COCO_FILE)
    return out / COCO_FILE


def write_csv(labelled: Labelled, out: Path) -> Path:
    """Write competition rows at the asked-for size, in order of file names."""
    records = [record_of(p.image_id, p.label_map.shape[:2]) for p in labelled.predictions()]
    spec = SubmissionSpec(labelled.files, tuple(records), labelled.size, labelled.classes.num_classes)
    part = out / f"{CSV_FILE}.part"
    write_submission(spec, part)
    part.replace(out / CSV_FILE)
    return out / CSV_FILE


def write_pngs(labelled: Labelled, out: Path) -> Path:
    """Write one palette PNG of class ids per image."""
    for prediction, target in with_targets(labelled, out):
        write_index_png(target, prediction.label_map, labelled.classes.palette)
    return out


def write_overlays(labelled: Labelled, out: Path) -> Path:
    """Write one PNG per image: the photo in grey with the class colours over it."""
    for prediction, target in with_targets(labelled, out):
        photo = read_image(labelled.images / prediction.image_id)
        painted = paint_classes(np.ascontiguousarray(photo[..., ::-1]), prediction.label_map, labelled.classes.palette)
        cv2.imwrite(str(target), np.ascontiguousarray(painted[..., ::-1]))
    return out


def with_targets(labelled: Labelled, out: Path) -> Iterator[tuple[Prediction, Path]]:
    """Yield predictions with the PNG to write, its folder made."""
    names = png_names(image_id for path in labelled.files for image_id in read_image_ids(path))
    for prediction in labelled.predictions():
        target = out / names[prediction.image_id]
        target.parent.mkdir(parents=True, exist_ok=True)
        yield prediction, target


def record_of(file_name: str, size: Sequence[int]) -> ImageRecord:
    """Return the record of an image that belongs to no run. size: height, width in px."""
    return ImageRecord(file_name, "", file_name, "", size[1], size[0], "", "", "unlabeled")


WRITERS: dict[str, Callable[[Labelled, Path], Path]] = {
    "coco": write_coco,
    "png": write_pngs,
    "overlay": write_overlays,
    "parquet": write_parquet,
    "csv": write_csv,
}
