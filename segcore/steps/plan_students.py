"""The part of a plan that is a student: one training, or those of an ensemble, their votes, and how they are joined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from segcore.steps.given_teacher import has_given_teacher, import_step
from segcore.steps.plan_work import RunSize, Work
from segcore.steps.run import Run
from segcore.steps.student_ensemble import (
    JoinSpec,
    TrainedMember,
    Votes,
    ensemble_step,
    has_members,
    joined,
    member_specs,
    num_models,
    voters,
    votes_step,
)
from segcore.steps.train import Student, TrainSpec, student_of, train_step
from segcore.store.layout import ensemble_place, member_place, refit_place, votes_place
from segcore.store.publish import Published
from segcore.store.steps import Step

Given = tuple[float, ...] | None


class Walks(Protocol):
    """Looks steps up and notes what was found (PlanLines in segcore/steps/plan_lines.py)."""

    run: Run

    def meet(self, step: Step, work: Work) -> Published | None:
        """Return the step's result, None when it must be made."""

    def after(self, place: str, work: Work | None, upstream: str | None = None) -> None:
        """Append a step whose inputs are not known before another is done."""

    def student_work(self, round_index: int) -> Work:
        """Return the work of one training."""

    @property
    def newest(self) -> str:
        """Return the place of the last line."""

    @property
    def sized(self) -> RunSize:
        """Return how many images there are."""


def planned_student(walk: Walks, spec: TrainSpec, given: Given = None) -> Student | None:
    """Look a round's student up, or the import of a given teacher. given: weights of an ensemble, None: chosen."""
    imported = spec.round_index == 0 and has_given_teacher(walk.run)
    if imported or not has_members(walk.run):
        found = walk.meet(import_step(spec) if imported else train_step(spec), walk.student_work(spec.round_index))
        return None if found is None else student_of(walk.run, found)
    trained = [(member, trained_member(walk, member)) for member in member_specs(spec, given)]
    members = tuple(member for _, member in trained if member is not None)
    if len(members) < len(trained):
        unknown_join(walk, spec.place, [one.member for one, _ in trained])
        return None
    votes = tuple(planned_votes(walk, member) for member in voters(members, given))
    known = tuple(found for found in votes if found is not None)
    if len(known) < len(votes):
        walk.after(ensemble_place(spec.place), walk.sized.join_work())
        return None
    step = ensemble_step(JoinSpec(spec, members, known, given))
    found = walk.meet(step, walk.sized.join_work())
    return None if found is None else joined(walk.run, found)


def trained_member(walk: Walks, spec: TrainSpec) -> TrainedMember | None:
    """Look the training of one model up."""
    found = walk.meet(train_step(spec), walk.student_work(spec.round_index))
    return None if found is None else TrainedMember(spec, student_of(walk.run, found))


def planned_votes(walk: Walks, member: TrainedMember) -> Votes | None:
    """Look the votes of one model up."""
    found = walk.meet(votes_step(member), walk.sized.votes_work())
    return None if found is None else Votes(found.output(walk.run.path))


def unknown_students(walk: Walks, place: str, round_index: int, upstream: str | None = None) -> None:
    """Append the trainings of a student that cannot be known yet. place: of the training of model itself."""
    imported = round_index == 0 and has_given_teacher(walk.run)
    models, upstream = range(1 if imported else num_models(walk.run)), upstream or walk.newest
    for model in models:
        walk.after(member_place(place, model), walk.student_work(round_index), upstream)
    if len(models) > 1:
        unknown_join(walk, place, models)


def unknown_join(walk: Walks, place: str, models: Sequence[int]) -> None:
    """Append votes and ensemble of models that are not all trained yet; a refit takes its winner's weights."""
    chosen = walk.run.config.ensemble.weights == "calib" and walk.sized.num_calib and place != refit_place()
    for model in models if chosen else ():
        trained = member_place(place, model)
        walk.after(votes_place(trained, model), walk.sized.votes_work(), trained)
    walk.after(ensemble_place(place), walk.sized.join_work())
