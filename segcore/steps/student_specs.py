"""What the students of a run are trained on and start from: each round's, and the control after the loop."""

from __future__ import annotations

from segcore.records import Checkpoint, RoundRecord
from segcore.steps.index import Index
from segcore.steps.places import control_place, student_place
from segcore.steps.run import Run
from segcore.steps.train import PseudoLabels, TrainSpec, starting_point
from segcore.trust.loop_policy import winner


def round_spec(
    run: Run, index: Index, round_index: int, labels: PseudoLabels | None, teacher: Checkpoint | None
) -> TrainSpec:
    """Return a round's training. teacher: who made the labels; None in round 0."""
    start = starting_point(run, teacher)
    return TrainSpec(run, index, round_index, labels, teacher, student_place(round_index), start=start)


def control_spec(run: Run, index: Index, history: tuple[RoundRecord, ...]) -> TrainSpec:
    """Return the winner's training without pseudo-labels.

    Where students start from their teachers, it starts from round 0, the last one that had none either.
    """
    round_index = winner(history).round_index
    start = starting_point(run, history[0].student)
    return TrainSpec(run, index, round_index, None, None, control_place(round_index), start=start)
