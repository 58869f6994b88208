"""Read what a calibrate step published on its teacher's confidence."""

from __future__ import annotations

import json
from typing import Any

from segcore.records import StepOutput
from segcore.steps.pseudo_labels import CALIBRATION, FilterSpec, calibrate_step
from segcore.steps.run import Run
from segcore.store.publish import look


def read_calibration(run: Run, output: StepOutput) -> dict[str, Any]:
    """Return the card of a published calibration (segcore/trust/calibration.py)."""
    card: dict[str, Any] = json.loads((run.path / output.path / CALIBRATION).read_text(encoding="utf-8"))
    return card


def calibration_behind(spec: FilterSpec) -> dict[str, Any] | None:
    """Return the card of the calibration that a filter step stands on; None if that is not published."""
    found = look(spec.run.path, calibrate_step(spec))
    return None if found is None else read_calibration(spec.run, found.output(spec.run.path))
