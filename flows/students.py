"""Training a round's student: one model, or the models of an ensemble, which then vote as one."""

from __future__ import annotations

from segcore.steps.student_ensemble import JoinSpec, TrainedMember, has_members, member_specs, voters
from segcore.steps.train import Student, TrainSpec
from tasks import steps
from tasks.labelling import free_device


def train_students(spec: TrainSpec, given: tuple[float, ...] | None = None) -> Student:
    """Train every model of the run, one after the other, and join them. given: their weights; None: chosen on calib."""
    free_device()
    if not has_members(spec.run):
        return train_student(spec)
    members = tuple(TrainedMember(member, train_student(member)) for member in member_specs(spec, given))
    votes = tuple(steps.ask_member.submit(member).result() for member in voters(members, given))
    free_device()
    joined: Student = steps.join_students.submit(JoinSpec(spec, members, votes, given)).result()
    return joined


def train_student(spec: TrainSpec) -> Student:
    """Train one model."""
    student: Student = steps.train_student.submit(spec).result()
    return student
