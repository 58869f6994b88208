"""The final refit: after the loop, one training on all labels but those of the report set. Nothing can score it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from segcore.records import Role, RoundRecord
from segcore.steps.ensemble_files import is_ensemble
from segcore.steps.given_teacher import has_given_teacher
from segcore.steps.index import Index
from segcore.steps.places import refit_place
from segcore.steps.run import Run
from segcore.steps.student_ensemble import shares_of
from segcore.steps.train import PseudoLabels, Student, TrainSpec, starting_point
from segcore.store.manifest import read_manifest
from segcore.trust.loop_policy import winner

REFIT_ROLES: tuple[Role, ...] = ("train", "calib", "gate")  # never report: it belongs to the scored model


@dataclass(frozen=True)
class RefitSize:
    """What a refit learnt from, in images."""

    num_labelled: int
    num_pseudo: int


def wants_refit(run: Run, best: RoundRecord) -> bool:
    """Return whether to train the refit: asked for, and the winner has a recipe, which a given teacher has not."""
    given = best.round_index == 0 and has_given_teacher(run)
    return run.config.loop.final_refit and not given


def refit_spec(run: Run, index: Index, best: RoundRecord, labels: PseudoLabels | None) -> TrainSpec:
    """Return the winner's training, schedule and seed, on train, calib and gate.

    labels: the winner's own pseudo-labels. They are used where the winner had some itself: if round 0 won, training
    with pseudo-labels was tried and was not better.
    """
    pseudo = labels if best.round_index > 0 else None
    teacher = None if pseudo is None else best.student
    start = starting_point(run, best.teacher)
    return TrainSpec(run, index, best.round_index, pseudo, teacher, refit_place(), REFIT_ROLES, start=start)


def refit_shares(run: Run, best: RoundRecord) -> tuple[float, ...] | None:
    """Return the winner's weights of an ensemble's models; None for a winner that is one model.

    The refit has learnt from calib, so that its own models cannot be weighed there.
    """
    is_one = not is_ensemble(run.path / best.student.path)
    return None if is_one else shares_of(run, best.student)


def refit_size(run: Run, index: Index, refit: Student) -> RefitSize:
    """Return what a published refit learnt from."""
    value: Any = read_manifest(run.path / refit.output.path).value
    return RefitSize(sum(index.num_images.get(role, 0) for role in REFIT_ROLES), value["num_pseudo"])


def refit_sentence(run: Run, index: Index, history: Sequence[RoundRecord], refit: Student | None) -> str:
    """Return what a report says of the refit; empty when none was asked for."""
    if not run.config.loop.final_refit:
        return ""
    best = winner(history).round_index
    if refit is None:
        return f"No final refit: round {best} won, the given checkpoint, and how that was trained is not known."
    size = refit_size(run, index, refit)
    pseudo = f" and {size.num_pseudo} pseudo-labelled" if size.num_pseudo else ""
    return (
        f"outputs/refit/ holds a final refit: round {best}'s training on {size.num_labelled} labelled (train, calib "
        f"and gate){pseudo} images. It is not scored: it has seen every labelled image that could score it."
    )
