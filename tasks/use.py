"""The tasks that use a model or a finished run."""

from __future__ import annotations

from segcore.steps import evaluate_set, predict_folder, submission
from tasks.shell import step


@step(name="predict-folder", task_run_name="predict {spec.images}")
def predict(spec: predict_folder.PredictSpec) -> predict_folder.PredictSummary:
    """Label every image of a folder."""
    return predict_folder.predict_folder(spec)


@step(name="evaluate-set", task_run_name="score on {spec.annotations}")
def evaluate(spec: evaluate_set.EvaluateSetSpec) -> evaluate_set.SetScore:
    """Score a model on labelled images that it has never seen."""
    return evaluate_set.evaluate_set(spec)


@step(name="make-submission", task_run_name="submission of {spec.run}")
def submit(spec: submission.MakeSubmissionSpec) -> submission.SubmissionSummary:
    """Write and check the competition CSV of a run."""
    return submission.make_submission(spec)
