"""After the loop: the winner labels the pool once more, is scored on the report set, and everything is laid out."""

from __future__ import annotations

from flows.round import label_pool
from flows.students import train_students
from segcore.records import RoundRecord
from segcore.steps.evaluate import EvaluateSpec, Evaluation
from segcore.steps.index import Index
from segcore.steps.inspect_labels import NO_LABELS, LabelledPool, StoppedByAlarm
from segcore.steps.outputs import OutputSpec, RunSummary
from segcore.steps.places import control_evaluation_place, report_place
from segcore.steps.refit import refit_shares, refit_spec, wants_refit
from segcore.steps.run import Run
from segcore.steps.student_specs import control_spec
from segcore.steps.train import Student, wants_control
from segcore.trust.loop_policy import winner
from tasks import steps


def finish(
    run: Run, index: Index, history: tuple[RoundRecord, ...], stopped: StoppedByAlarm | None = None
) -> RunSummary:
    """Publish what the winner gives: model, pseudo-annotations, submission and report."""
    best = winner(history)
    labels = label_pool(run, index, history, best.student, final=True) if has_pool(index) else NO_LABELS
    report = score_report(run, index, best)
    control = train_control(run, index, history) if wants_control(run, best.round_index) else None
    refit = train_refit(run, index, best, labels) if wants_refit(run, best) else None
    spec = OutputSpec(run, index, history, labels, report, control, refit, stopped)
    summary: RunSummary = steps.publish_outputs.submit(spec).result()
    return summary


def has_pool(index: Index) -> bool:
    """Return whether there are images to label."""
    return bool(index.num_images.get("unlabeled") or index.num_images.get("test"))


def score_report(run: Run, index: Index, best: RoundRecord) -> Evaluation | None:
    """Score the winner on the report set, the one time it is touched."""
    if not index.num_images.get("report"):
        return None
    spec = EvaluateSpec(run, index, best.student, report_place(), role="report")
    evaluation: Evaluation = steps.evaluate_student.submit(spec).result()
    return evaluation


def train_control(run: Run, index: Index, history: tuple[RoundRecord, ...]) -> Evaluation:
    """Train and score a student on GT alone with the winner's schedule: what training longer gives by itself."""
    spec = control_spec(run, index, history)
    student = train_students(spec)
    scored = EvaluateSpec(run, index, student.checkpoint, control_evaluation_place(spec.round_index))
    evaluation: Evaluation = steps.evaluate_student.submit(scored).result()
    return evaluation


def train_refit(run: Run, index: Index, best: RoundRecord, labels: LabelledPool) -> Student:
    """Train once more with the winner's recipe, on all labels but the report set's; nothing scores this model."""
    return train_students(refit_spec(run, index, best, labels.pseudo_labels), refit_shares(run, best))
