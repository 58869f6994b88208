"""Rounds and records with numbers small enough to read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from segcore.outputs.report_data import PseudoLabelReport, RoundReport
from segcore.records import Checkpoint, GateDecision, Interval, RoundRecord, Score, StepOutput


def score_of(miou: float, num_excluded: int) -> Score:
    return Score(Interval(miou, miou - 0.05, miou + 0.05), (miou + 0.1, miou - 0.1, None), 0.9, 0.7, 42, num_excluded)


def decision_of(round_index: int, outcome: str, gain: float) -> GateDecision:
    delta = None if round_index == 0 else Interval(gain, gain - 0.02, gain + 0.02)
    return GateDecision(outcome, (f"reason of round {round_index}", "bottle|can +0.1"), delta)


@pytest.fixture
def round_of() -> Callable[..., RoundReport]:
    """Return a function that makes a round as the report has it."""

    def make(round_index: int, miou: float, outcome: str, gain: float = 0.0, num_excluded: int = 0) -> RoundReport:
        pseudo = PseudoLabelReport((0.9,) * 3, (0.6, 0.4, None), 0.391, 1234, (None,) * 3) if round_index else None
        decision = decision_of(round_index, outcome, gain)
        return RoundReport(round_index, score_of(miou, num_excluded), decision, {}, pseudo)

    return make


@pytest.fixture
def record_of() -> Callable[..., RoundRecord]:
    """Return a function that makes a round as the loop has it."""

    def make(round_index: int, miou: float, outcome: str, gain: float = 0.0) -> RoundRecord:
        student = Checkpoint(f"round_{round_index}/model.pth", f"digest {round_index}", "config.py", "lineage.json")
        evaluation = StepOutput("evaluate", "evaluation", "key", "digest", reused=False)
        decision = decision_of(round_index, outcome, gain)
        return RoundRecord(round_index, None, student, score_of(miou, 0), decision, evaluation, None)

    return make
