"""The chains of a cross-validation: k runs, each of which keeps one fold of all labelled images until its end.

A chain is a run like any other, started with roles.fold: it is locked, planned, resumed and reported by itself. What is
made of all of them together lies in a run folder of its own, <run_id>-cv.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcore.config.load import load_config
from segcore.errors import ConfigError, RunError, StepError
from segcore.records import Checkpoint, StepOutput
from segcore.steps.evaluate import EvaluateSpec, evaluate_step, scoring_images
from segcore.steps.finished import existing_run, published_index
from segcore.steps.index import Index
from segcore.steps.outputs import RunSummary
from segcore.steps.places import report_place
from segcore.steps.run import Run, cancel_checks, open_run, run_folder, trusted_config
from segcore.store.publish import look

MIN_FOLDS, MAX_FOLDS = 2, 50
PARENT, CHAIN = "{}-cv", "{}-fold{}"


@dataclass(frozen=True)
class ChainSpec:
    """How one chain is started: as `segloop run CONFIG --run-id run_id` with every override as --set."""

    fold_index: int
    run_id: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class ChainEnd:
    """How a chain ended: with its summary, or with what stopped it."""

    spec: ChainSpec
    result: RunSummary | BaseException


@dataclass(frozen=True)
class Chain:
    """A finished chain. student: its winner. evaluation: that winner's predictions of the fold, in the chain's folder.

    num_excluded: images of the fold that could not score it.
    """

    fold_index: int
    run: Run
    index: Index
    winner_index: int
    student: Checkpoint
    evaluation: StepOutput
    num_excluded: int


def chain_specs(
    config_path: str, num_folds: int, run_id: str | None, overrides: Sequence[str]
) -> tuple[ChainSpec, ...]:
    """Return the chains of a config, fold by fold. ConfigError for a config, a fold or a run_id that cannot be."""
    if not MIN_FOLDS <= num_folds <= MAX_FOLDS:
        raise ConfigError(f"folds must be {MIN_FOLDS} to {MAX_FOLDS}, got {num_folds}")
    name = run_id or str(load_config(Path(config_path), overrides).run_id)
    specs = []
    for fold in range(num_folds):
        own = (
            f"roles.fold={{index: {fold}, of: {num_folds}}}",
            "loop.require_approval=false",
            "loop.final_refit=false",
        )
        spec = ChainSpec(fold, CHAIN.format(name, fold), (*overrides, *own))
        run_folder(load_config(Path(config_path), spec.overrides), spec.run_id)
        specs.append(spec)
    return tuple(specs)


@contextlib.contextmanager
def open_parent(
    config_path: str, run_id: str | None, update: bool, overrides: Sequence[str], roots: Sequence[Path] | None
) -> Iterator[Run]:
    """Open the run that holds what is made of all chains; what cancels it cancels the chain that is under way."""
    config = trusted_config(Path(config_path), overrides, roots)
    name = PARENT.format(run_id or config.run_id)
    with open_run(config_path, name, update, overrides, roots) as run:
        run.layout.folds_file.unlink(missing_ok=True)

        def parent_cancelled() -> bool:
            return run.layout.cancel_file.exists()

        cancel_checks.append(parent_cancelled)
        try:
            yield run
        finally:
            cancel_checks.remove(parent_cancelled)


def finished_chains(parent: Run, ends: Sequence[ChainEnd]) -> tuple[Chain, ...]:
    """Return the chains; StepError naming every one that did not reach its end, when there is any."""
    failed = [(end.spec.run_id, end.result) for end in ends if not isinstance(end.result, RunSummary)]
    if failed:
        reasons = "; ".join(f"{run_id}: {type(error).__name__}: {error}" for run_id, error in failed)
        raise StepError(
            f"{parent.run_id}: {len(failed)} of {len(ends)} chains did not reach their end, so nothing is scored: "
            f"{reasons}. Start it again: finished chains are reused, the others go on where they stopped"
        )
    return tuple(finished_chain(end.spec.fold_index, end.result) for end in ends if isinstance(end.result, RunSummary))


def finished_chain(fold_index: int, summary: RunSummary) -> Chain:
    """Return a chain from its files."""
    run = existing_run(str(Path(summary.outputs).parent))
    index = published_index(run)
    student = winner_of(run, summary.winner_index)
    spec = EvaluateSpec(run, index, student, report_place(), role="report")
    kept, excluded = scoring_images(spec)
    published = look(run.path, evaluate_step(spec, kept))
    if published is None:
        raise RunError(f"{run.folder}: expected the predictions of its fold in {report_place()}; start it again")
    return Chain(fold_index, run, index, summary.winner_index, student, published.output(run.path), len(excluded))


def winner_of(run: Run, winner_index: int) -> Checkpoint:
    """Return the student of a round, as its round.json names it."""
    path = run.layout.round_file(winner_index)
    try:
        raw: Any = json.loads(path.read_bytes())
        return Checkpoint(**raw["student"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: expected the record of the best round ({error!r}); start the run again") from None
