"""The evaluate step: a checkpoint's predictions on the images that may honestly score it, as confusions per image."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segcore.data.label_maps import LabelMaps
from segcore.pseudo.predictions import read_predictions
from segcore.records import Checkpoint, ImageRecord, Role, StepOutput
from segcore.steps.index import Index, class_map_of, ground_truth_path, images_of
from segcore.steps.label import PREDICTIONS, Prediction, predict, prediction_inputs
from segcore.steps.run import Run, ensure_step
from segcore.store.steps import Step
from segcore.trust.confusion import ConfusionTable, confusion_matrix
from segcore.trust.lineage import Lineage, honest_images, require_honest

logger = logging.getLogger(__name__)

VERSION = 3  # 2: predictions with histograms and the agreement of views, as those of the label step; 3: of checkpoints
CONFUSION = "confusion.parquet"


@dataclass(frozen=True)
class EvaluateSpec:
    """What to score. role: "gate" for decisions, "report" for the number that is touched once."""

    run: Run
    index: Index
    checkpoint: Checkpoint
    place: str
    role: Role = "gate"


@dataclass(frozen=True)
class Evaluation:
    """Published confusions. num_excluded: images of the role that the checkpoint or an ancestor has learnt from."""

    output: StepOutput
    num_images: int
    num_excluded: int


def scoring_images(spec: EvaluateSpec) -> tuple[tuple[ImageRecord, ...], tuple[ImageRecord, ...]]:
    """Return the images that may score the checkpoint, and those that may not. HonestScoreError when too few may."""
    lineage = Lineage.read(spec.run.path / spec.checkpoint.lineage)
    kept, excluded = honest_images(images_of(spec.run, spec.index, spec.role), lineage)
    require_honest(kept, excluded, spec.run.config.roles.min_gate_images)
    return kept, excluded


def evaluate_step(spec: EvaluateSpec, kept: tuple[ImageRecord, ...]) -> Step:
    """Return the evaluate step: what is predicted, and the truth it is held against."""
    inputs = {
        **prediction_inputs(spec.run, spec.checkpoint, kept),
        "truth": spec.index.digests[spec.role],
        "classes": list(class_map_of(spec.run, spec.index).names),
    }
    return Step("evaluate", VERSION, spec.place, inputs)


def evaluate(spec: EvaluateSpec) -> Evaluation:
    """Score a checkpoint, or reuse its score."""
    kept, excluded = scoring_images(spec)
    if excluded:
        logger.warning(
            "%s: %d of %d %s images are in the lineage of this checkpoint and do not score it",
            spec.place, len(excluded), len(kept) + len(excluded), spec.role,
        )  # fmt: skip
    step = evaluate_step(spec, kept)
    log_path = spec.run.layout.log_file(step)
    published = ensure_step(spec.run, step, lambda work: build(spec, Prediction(kept, work, log_path)))
    return Evaluation(published.output(spec.run.path), len(kept), len(excluded))


def build(spec: EvaluateSpec, what: Prediction) -> dict[str, Any]:
    """Write predictions and confusions."""
    run, index = spec.run, spec.index
    value = predict(run, index, spec.checkpoint, what)
    num_classes = class_map_of(run, index).num_classes
    table = confusions(what.work / PREDICTIONS, ground_truth_path(run, index), num_classes)
    table.write(what.work / CONFUSION)
    return value


def confusions(predictions: Path, truth_path: Path, num_classes: int) -> ConfusionTable:
    """Return the confusions of every predicted image against its ground truth."""
    truth = LabelMaps(truth_path)
    ids, counts = [], []
    for prediction in read_predictions(predictions):
        ids.append(prediction.image_id)
        counts.append(confusion_matrix(truth[prediction.image_id], prediction.label_map, num_classes))
    truth.close()
    stacked = np.stack(counts) if counts else np.zeros((0, num_classes, num_classes), np.int64)
    return ConfusionTable(tuple(ids), stacked)


def read_confusions(run: Run, output: StepOutput) -> ConfusionTable:
    """Return the confusions of a published evaluation."""
    return ConfusionTable.read(run.path / output.path / CONFUSION)
