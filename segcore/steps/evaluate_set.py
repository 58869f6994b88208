"""Score any model on any labelled COCO set, honestly: what its lineage has seen is left out and counted."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from segcore.config.data_schema import RolesConfig
from segcore.config.schema import LoopConfig
from segcore.data.classes import class_map
from segcore.data.coco import CocoFile
from segcore.data.paint import paint_oriented
from segcore.data.problems import Problems
from segcore.data.scan import Scan, scan_images
from segcore.data.sources import labelled_images, load_labelled
from segcore.errors import ConfigError, DataError, StepError
from segcore.process.jobs import PredictImage
from segcore.pseudo.predictions import Prediction, read_predictions
from segcore.records import IGNORE_INDEX, ClassMap, Score
from segcore.steps.honest_set import HonestSet, Provenance, honest_set
from segcore.steps.model_files import (
    BACKGROUND,
    ModelFiles,
    ModelRequest,
    ViewRequest,
    find_model,
    from_categories,
    label_config,
)
from segcore.steps.predict_images import PredictRun, Progress, max_megapixels, predict_chunks, workspace
from segcore.store.canonical import file_sha256
from segcore.store.durable import replace_file
from segcore.store.environment import environment
from segcore.store.run_file import canonical_indented
from segcore.trust.confusion import ConfusionTable, confusion_matrix
from segcore.trust.gate import GateSpec, score

logger = logging.getLogger(__name__)

FORMAT = 1
Unannotated = Literal["background", "ignore"]


@dataclass(frozen=True)
class EvaluateSetSpec:
    """What to score on what. min_images, unannotated: None takes the value of the model's run, or the default.

    json_path: where the result goes as JSON, None: nowhere.
    """

    model: ModelRequest
    annotations: str
    images: str
    provenance: Provenance
    views: ViewRequest
    min_images: int | None = None
    unannotated: str | None = None
    json_path: str | None = None


@dataclass(frozen=True)
class SetScore:
    """A model's score on a labelled set. table: the same for people."""

    score: Score
    class_names: tuple[str, ...]
    excluded: tuple[str, ...]
    table: str


@dataclass(frozen=True)
class Truth:
    """A labelled set. scans: its images by file name. fill: value of pixels without annotation."""

    file: CocoFile
    scans: Mapping[str, Scan]
    classes: ClassMap
    fill: int


def evaluate_set(spec: EvaluateSetSpec) -> SetScore:
    """Score a model on the images of a COCO set that may score it.

    HonestScoreError when too few of them may; DataError listing every image that cannot be read.
    """
    model = find_model(spec.model)
    truth = read_truth(spec, model)
    chosen = honest_set(list(truth.scans.values()), model, spec.provenance, minimum(spec, model))
    if chosen.excluded:
        logger.warning(
            "%d of %d images are, or look like, images this model was trained on and do not score it",
            len(chosen.excluded), len(truth.scans),
        )  # fmt: skip
    table = confusions(spec, model, truth, chosen)
    found = score(table, score_spec(model, truth.classes, len(chosen.excluded)))
    result = SetScore(found, truth.classes.names, chosen.excluded, render(found, truth.classes.names, chosen))
    if spec.json_path is not None:
        content = canonical_indented(document(spec, model, chosen, result)) + "\n"
        replace_file(Path(spec.json_path), content.encode("ascii"))
    return result


def minimum(spec: EvaluateSetSpec, model: ModelFiles) -> int:
    """Return the least number of honest images that give a score."""
    if spec.min_images is not None:
        return spec.min_images
    return (RolesConfig() if model.run is None else model.run.config.roles).min_gate_images


def read_truth(spec: EvaluateSetSpec, model: ModelFiles) -> Truth:
    """Load and check the labelled set; every image is read once."""
    file = load_labelled(Path(spec.annotations), Path(spec.images))
    classes = matched_classes(model.classes or classes_of_file(file, spec.unannotated), file)
    fill = fill_value(spec, model, classes)
    scans, failures = scan_images(labelled_images("set", file, Path(spec.images)), max_megapixels(model))
    problems = Problems(spec.annotations)
    problems.extend(failure.reason for failure in failures)
    problems.raise_if_any()
    return Truth(file, {scan.image.file_name: scan for scan in scans}, classes, fill)


def classes_of_file(file: CocoFile, unannotated: str | None) -> ClassMap:
    """Return the classes of a model from outside that was trained on the categories of this file."""
    if unannotated == "background":
        return class_map(file.categories, "background", BACKGROUND, {})
    return from_categories(file.categories)


def matched_classes(classes: ClassMap, file: CocoFile) -> ClassMap:
    """Return a model's classes with the category ids of another file, joined by name.

    DataError when a category is no class of the model, or a class other than an implicit background no category.
    """
    ids = {category.name: category.id for category in file.categories if not category.ignore}
    unknown = sorted(set(ids) - set(classes.names))
    implicit = {name for name, number in zip(classes.names, classes.category_ids, strict=True) if number is None}
    missing = [name for name in classes.names if name not in ids and name not in implicit]
    if unknown or missing:
        wrong = f"{unknown[0]!r} is no class of the model" if unknown else f"the class {missing[0]!r} has no category"
        raise DataError(
            f"{file.path}: categories must be the model's classes ({', '.join(classes.names)}), but {wrong}; "
            f"{'rename or remove it' if unknown else 'add it to categories, even if nothing carries it'}"
        )
    return ClassMap(classes.names, classes.palette, tuple(ids.get(name) for name in classes.names))


def fill_value(spec: EvaluateSetSpec, model: ModelFiles, classes: ClassMap) -> int:
    """Return the class id of pixels without annotation, 255 for ignore."""
    if spec.unannotated not in (None, "background", "ignore"):
        raise ConfigError(f"--unannotated must be background or ignore, got {spec.unannotated!r}")
    meaning = cast(Unannotated | None, spec.unannotated)
    if meaning is None and model.run is not None:
        meaning = model.run.config.data.unannotated
    if meaning is None and classes.category_ids[0] is None:
        meaning = "background"  # a class without category can only be what is left over
    if meaning is None:
        raise ConfigError(
            "--unannotated must say what a pixel without annotation means, background (class 0, "
            f"{classes.names[0]!r}) or ignore, since no run of this model tells"
        )
    return IGNORE_INDEX if meaning == "ignore" else 0


def confusions(spec: EvaluateSetSpec, model: ModelFiles, truth: Truth, chosen: HonestSet) -> ConfusionTable:
    """Predict the honest images and hold them against their truth."""
    images = [PredictImage(name, str(truth.scans[name].image.path().resolve())) for name in chosen.kept]
    progress, counts = Progress(), {}
    num_classes = truth.classes.num_classes
    with workspace() as work:
        run = PredictRun(
            model, images, num_classes, label_config(model, spec.views), spec.views.device, max_megapixels(model), work
        )
        for path in predict_chunks(run, progress):
            for prediction, true_map in zip_truth(read_predictions(path), truth):
                counts[prediction.image_id] = confusion_matrix(true_map, prediction.label_map, num_classes)
            path.unlink()
    if progress.quarantined:
        first = progress.quarantined[0]
        raise StepError(f"{len(progress.quarantined)} images could not be predicted, {first.image_id}: {first.reason}")
    return ConfusionTable(tuple(counts), np.stack(list(counts.values())))


def zip_truth(predictions: Iterator[Prediction], truth: Truth) -> Iterator[tuple[Prediction, Any]]:
    """Yield predictions with the true label map of their image, (H, W) uint8."""
    for prediction in predictions:
        scan = truth.scans[prediction.image_id]
        assert scan.image.coco is not None
        annotations = truth.file.by_image[scan.image.coco.id]
        yield prediction, paint_oriented(scan.image.coco, annotations, scan.header, truth.classes, truth.fill)


def score_spec(model: ModelFiles, classes: ClassMap, num_excluded: int) -> GateSpec:
    """Return how the score and its interval are computed."""
    loop = LoopConfig() if model.run is None else model.run.config.loop
    return GateSpec(loop.gate_level, 1, loop.gate_resamples, loop.seed, classes.names, None, num_excluded)


def render(found: Score, class_names: Sequence[str], chosen: HonestSet) -> str:
    """Return the score as a table for people."""
    width = max(len(name) for name in (*class_names, "mIoU (95 % interval)"))
    lines = [f"{'class':{width}}  IoU"]
    for name, iou in zip(class_names, found.class_iou, strict=True):
        lines.append(f"{name:{width}}  {'absent' if iou is None else f'{iou:.4f}'}")
    miou = found.miou
    lines.append(f"{'mIoU (95 % interval)':{width}}  {miou.point:.4f} ({miou.low:.4f} … {miou.high:.4f})")
    lines.append(f"{'aAcc':{width}}  {found.aacc:.4f}")
    lines.append(f"{'mAcc':{width}}  {found.macc:.4f}")
    lines.append(f"scored on {found.num_images} images; {found.num_excluded} left out, seen in training")
    if chosen.stated:
        lines.append("it was stated, not checked, that the model has seen no other image of this set")
    return "\n".join(lines)


def document(spec: EvaluateSetSpec, model: ModelFiles, chosen: HonestSet, result: SetScore) -> dict[str, Any]:
    """Return the result as a JSON object."""
    views = label_config(model, spec.views).model_dump(mode="json", include={"sizes", "flip", "precision", "resize"})
    return {
        "format": FORMAT,
        "checkpoint": {"path": str(model.checkpoint), "sha256": file_sha256(model.checkpoint)},
        "model_config_sha256": file_sha256(model.config),
        "annotations": {"path": spec.annotations, "sha256": file_sha256(Path(spec.annotations))},
        "views": views,
        "score": asdict(result.score),
        "classes": list(result.class_names),
        "images": list(chosen.kept),
        "excluded": list(chosen.excluded),
        "lineage": {
            "num_images": chosen.num_lineage,
            "num_unchecked": chosen.num_unchecked,
            "stated_unseen": chosen.stated,
            "from_file": model.lineage is not None,
        },
        "environment": environment(),
    }
