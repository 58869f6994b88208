"""The tasks of the loop, in the order in which a round runs them."""

from __future__ import annotations

from typing import Any

from segcore.records import RoundRecord
from segcore.steps import (
    decide,
    evaluate,
    given_teacher,
    index,
    inspect_labels,
    label,
    outputs,
    pseudo_labels,
    quality_card,
    student_ensemble,
    train,
)
from segcore.steps.run import Run
from tasks import cards
from tasks.shell import LABEL_RETRIES, LABEL_RETRY_DELAY_S, shown, step, worth_retrying


@step(name="index-images", task_run_name="index images")
def index_images(run: Run) -> Any:
    """Read, check and hash every image; give each its role."""
    return shown(index.index_images(run))


@step(name="import-teacher", task_run_name="import the given teacher")
def import_teacher(spec: train.TrainSpec) -> Any:
    """Bring a checkpoint from outside into the run."""
    return shown(given_teacher.import_teacher(spec))


@step(name="train-student", task_run_name="train {spec.place}")
def train_student(spec: train.TrainSpec) -> Any:
    """Train one student, resuming where an earlier attempt stopped."""
    student = train.train(spec)
    cards.trained(spec, student)
    return shown(student)


@step(name="ask-member", task_run_name="{spec.train.place} votes on calib")
def ask_member(spec: student_ensemble.TrainedMember) -> Any:
    """Have one model of an ensemble vote on calib."""
    return shown(student_ensemble.ask(spec))


@step(name="join-students", task_run_name="join {spec.train.place} and its members")
def join_students(spec: student_ensemble.JoinSpec) -> Any:
    """Choose members and their weights on calib; from then on they are one student."""
    student = student_ensemble.join(spec)
    cards.joined(spec, student)
    return shown(student)


@step(
    name="label-shard",
    task_run_name="label shard {spec.shard_index:04d}",
    retries=LABEL_RETRIES,
    retry_delay_seconds=LABEL_RETRY_DELAY_S,
    retry_condition_fn=worth_retrying,
)
def label_shard(spec: label.LabelSpec) -> Any:
    """Predict one shard with test-time augmentation."""
    return shown(label.label_shard(spec))


@step(name="calibrate", task_run_name="calibrate on calib")
def calibrate(spec: pseudo_labels.FilterSpec) -> Any:
    """Count how often which confidence is right."""
    calibration = pseudo_labels.calibrate(spec)
    cards.calibrated(spec, calibration)
    return shown(calibration)


@step(name="filter-labels", task_run_name="filter pseudo-labels")
def filter_labels(spec: pseudo_labels.FilterSpec, calibration: pseudo_labels.Calibration) -> Any:
    """Keep what is reliable; below threshold becomes ignore."""
    labels = pseudo_labels.filter_labels(spec, calibration)
    cards.filtered(spec, labels)
    return shown(labels)


@step(name="inspect-labels", task_run_name="inspect pseudo-labels")
def inspect_pseudo_labels(spec: quality_card.InspectSpec) -> Any:
    """Make the quality card, and do what its alarms call for."""
    found = inspect_labels.inspect_labels(spec)
    cards.inspected(spec, found)
    return shown(found)


@step(name="evaluate-student", task_run_name="score on {spec.role} images")
def evaluate_student(spec: evaluate.EvaluateSpec) -> Any:
    """Score a checkpoint on images its lineage has never seen."""
    return shown(evaluate.evaluate(spec))


@step(name="decide", task_run_name="gate")
def decide_round(spec: decide.DecideSpec) -> RoundRecord:
    """Compare the student with the best so far."""
    record = decide.decide(spec)
    cards.decided(spec, record)
    return record


@step(name="publish-outputs", task_run_name="publish outputs")
def publish_outputs(spec: outputs.OutputSpec) -> Any:
    """Leave model, pseudo-annotations, submission and report under stable names."""
    summary = outputs.publish_outputs(spec)
    cards.published(spec, summary)
    return summary
