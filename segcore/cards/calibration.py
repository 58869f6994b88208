"""Card calibration: what a teacher's confidence is worth, on calib."""

from __future__ import annotations

from segcore.cards.markdown import plain, table
from segcore.outputs.reliability import HEADER, calibration_report
from segcore.outputs.report_data import CalibrationReport
from segcore.records import StepOutput
from segcore.steps.calibration_card import read_calibration
from segcore.steps.run import Run

NOTE = (
    "Confidence and right: means over the pixels predicted as the class. The error after temperature is measured on "
    "images the temperature was not fitted on. Temperatures change no threshold. Diagrams: report.html."
)


def calibration_of(run: Run, output: StepOutput) -> str:
    """Return the card of a published calibration."""
    return calibration_card(calibration_report(read_calibration(run, output)))


def calibration_card(report: CalibrationReport) -> str:
    """Return the summary and a row a class."""
    rows = [tuple(plain(cell) for cell in diagram.cells) for diagram in report.diagrams]
    return f"{plain(report.summary)}\n\n{table(HEADER, rows)}\n\n{NOTE}\n"
