"""What a report shows of a round whose student is an ensemble."""

from __future__ import annotations

import json
from typing import Any

from segcore.outputs.report_data import EnsembleReport
from segcore.outputs.report_text import iou
from segcore.records import Checkpoint
from segcore.steps.ensemble_files import is_ensemble
from segcore.steps.run import Run
from segcore.steps.student_ensemble import CHOICE


def ensemble_report(run: Run, student: Checkpoint) -> EnsembleReport | None:
    """Return members and weights of a round's student; None for one model."""
    path = run.path / student.path
    if not is_ensemble(path):
        return None
    found: Any = json.loads((path.parent / CHOICE).read_text(encoding="utf-8"))
    fields = ["model", *(f"ensemble.members[{index}]" for index in range(len(found["models"]) - 1))]
    calib, shares = found["calib"], tuple(found["shares"])
    alone = (None,) * len(shares) if calib is None else tuple(calib["alone"])
    models = tuple(f"{field}: {name}" for field, name in zip(fields, found["models"], strict=True))
    return EnsembleReport(models, shares, alone, sentence(calib))


def sentence(calib: dict[str, Any] | None) -> str:
    """Return why the weights are what they are. calib: of choice.json, None where calib was not asked."""
    if calib is None:
        return "equal weights; calib was not asked."
    if calib["out_of_fold"] is None:
        return f"equal weights (mIoU {iou(calib['equal'])} on calib): too few calib images for a choice."
    honest = f"mIoU {iou(calib['out_of_fold'])} on calib images they were chosen without"
    seen = f"{iou(calib['chosen'])} on those they were chosen on"
    if calib["out_of_fold"] > calib["equal"]:
        return f"chosen weights give {honest} ({seen}), equal ones {iou(calib['equal'])}."
    return f"equal weights (mIoU {iou(calib['equal'])} on calib): chosen ones would give {honest} ({seen})."
