"""The tasks of a cross-validation, once its chains are done."""

from __future__ import annotations

from typing import Any

from segcore.cards.folds import folds_card
from segcore.steps import fold_ensemble, folds_outputs, out_of_fold
from segcore.steps.label import LabelledShard
from tasks import cards
from tasks.shell import LABEL_RETRIES, LABEL_RETRY_DELAY_S, shown, step, worth_retrying


@step(name="score-out-of-fold", task_run_name="score out of fold")
def score_out_of_fold(spec: out_of_fold.OutOfFoldSpec) -> Any:
    """Score the predictions of all folds as one, choose members, rank labels that are probably wrong."""
    return shown(out_of_fold.score_out_of_fold(spec))


@step(
    name="label-ensemble-shard",
    task_run_name="ensemble labels shard {spec.shard_index:04d}",
    retries=LABEL_RETRIES,
    retry_delay_seconds=LABEL_RETRY_DELAY_S,
    retry_condition_fn=worth_retrying,
)
def label_shard(spec: fold_ensemble.EnsembleShard) -> Any:
    """Predict one shard of the pool with all members."""
    return shown(fold_ensemble.label_shard(spec))


@step(name="filter-ensemble-labels", task_run_name="filter the ensemble's labels")
def filter_labels(
    spec: fold_ensemble.EnsembleSpec, shards: tuple[LabelledShard, ...], found: out_of_fold.OutOfFold
) -> Any:
    """Keep what is reliable; below threshold becomes ignore."""
    return shown(fold_ensemble.filter_labels(spec, shards, found))


@step(name="publish-folds", task_run_name="publish outputs")
def publish_folds(spec: folds_outputs.FoldsSpec) -> folds_outputs.FoldsSummary:
    """Leave scores, models, labels to look at and the ensemble's labels under stable names."""
    summary = folds_outputs.publish_folds(spec)
    cards.post("cross-validation", f"Cross-validation {summary.run_id}", lambda: folds_card(spec, summary))
    return summary
