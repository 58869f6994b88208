"""The tasks that use a model or a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segcore.steps import evaluate_set, predict_folder, submission
from tasks.shell import LABEL_RETRIES, LABEL_RETRY_DELAY_S, shown, step, worth_retrying


@step(
    name="predict-shard",
    task_run_name="predict shard {shard.shard_index:04d}",
    retries=LABEL_RETRIES,
    retry_delay_seconds=LABEL_RETRY_DELAY_S,
    retry_condition_fn=worth_retrying,
)
def predict_shard(shard: predict_folder.FolderShard) -> Any:
    """Label one shard of a folder."""
    return shown(predict_folder.predict_shard(shard))


@step(name="write-predictions", task_run_name="write predictions")
def write_predictions(out: str, shards: Sequence[predict_folder.LabelledFolderShard]) -> predict_folder.PredictSummary:
    """Write what was predicted in the forms asked for."""
    return predict_folder.write_predictions(out, shards)


@step(name="evaluate-set", task_run_name="score on {spec.annotations}")
def evaluate(spec: evaluate_set.EvaluateSetSpec) -> evaluate_set.SetScore:
    """Score a model on labelled images that it has never seen."""
    return evaluate_set.evaluate_set(spec)


@step(name="make-submission", task_run_name="submission of {spec.run}")
def submit(spec: submission.MakeSubmissionSpec) -> submission.SubmissionSummary:
    """Write and check the competition CSV of a run."""
    return submission.make_submission(spec)
