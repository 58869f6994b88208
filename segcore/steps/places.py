"""Where the steps of rounds and of the end are published; flows name places through this module only."""

from __future__ import annotations

from segcore.store.layout import FINAL, control_place, evaluation_place, refit_place, student_place

__all__ = [
    "control_evaluation_place", "control_place", "evaluation_place", "refit_place", "report_place", "student_place",
]  # fmt: skip


def control_evaluation_place(round_index: int) -> str:
    """Return the place of the control student's evaluation."""
    return evaluation_place(round_index, of="control_evaluation")


def report_place() -> str:
    """Return the place of the one evaluation on the report set."""
    return f"{FINAL}/report_evaluation"
