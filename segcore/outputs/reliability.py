"""Reliability diagrams in words, table cells and the geometry of small pictures, for the report and for Prefect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from segcore.outputs.report_data import CalibrationReport, ReliabilityDiagram, ReliabilityPoint
from segcore.outputs.report_text import iou

SIDE = 220  # of a diagram, SVG units
MARGIN = 28
TICKS = (0.5, 0.9, 0.99, 0.999)
HEADER = ("class", "images", "confidence", "right", "calibration error (95 %)", "after temperature")


def calibration_report(card: Mapping[str, Any]) -> CalibrationReport:
    """Return a calibration card (segcore/trust/calibration.py) as it is shown."""
    entries = [{"name": "all classes", **card["all"]}, *card["classes"]]
    diagrams = tuple(diagram_of(entry) for entry in entries if entry["num_pixels"])
    ticks = tuple((place(share), str(share)) for share in TICKS)
    return CalibrationReport(summary_of(card), diagrams, SIDE, MARGIN, ticks)


def summary_of(card: Mapping[str, Any]) -> str:
    """Return what calib says of the teacher's confidence, in a sentence or two."""
    found = card["all"]
    if not found["num_pixels"]:
        return "No calib image has a scored pixel: nothing is known of what confidence is worth."
    images = "1 calib image" if found["num_images"] == 1 else f"{found['num_images']} calib images"
    after = found["ece"]["after"]
    gap = found["confidence"] - found["accuracy"]
    left = "" if after is None else f", which leaves an error of {spread(after)} on images it was not fitted on"
    return (
        f"On {images} the mean confidence is {iou(found['confidence'])} and {iou(found['accuracy'])} of the pixels are "
        f"right: {lean(gap)}. Expected calibration error {spread(found['ece']['before'])}; "
        f"temperature {card['temperature']:.2f}{left}."
    )


def lean(gap: float) -> str:
    """Return in words on which side confidence errs on the mean."""
    if abs(gap) < 0.005:
        return "neither too sure nor too unsure on the mean"
    return f"too {'sure' if gap > 0 else 'unsure'} by {iou(abs(gap))} on the mean"


def diagram_of(entry: Mapping[str, Any]) -> ReliabilityDiagram:
    """Return the diagram of all classes or of one."""
    cells = (
        entry["name"],
        str(entry["num_images"]),
        iou(entry["confidence"]),
        iou(entry["accuracy"]),
        spread(entry["ece"]["before"]),
        spread(entry["ece"]["after"]),
    )
    return ReliabilityDiagram(entry["name"], tuple(point_of(found) for found in entry["bins"]), cells)


def point_of(found: Mapping[str, Any]) -> ReliabilityPoint:
    """Return a bin as a point."""
    after = found["calibrated"]
    return ReliabilityPoint(
        x=place(found["confidence"]),
        x_after=None if after is None else place(after),
        y=SIDE - place(found["accuracy"]),
        y_low=SIDE - place(found["low"]),
        y_high=SIDE - place(found["high"]),
        title=(
            f"confidence {iou(found['confidence'])}, after temperature {iou(after)}; right {iou(found['accuracy'])} "
            f"({iou(found['low'])} … {iou(found['high'])}), {found['share']:.1%} of the pixels"
        ),
    )


def place(share: float) -> float:
    """Return where a share in [0, 1] lies along an axis: even in -ln(1 - share), as confidence is stored.

    On an even axis most bins of a sure teacher would lie on one another. The last tick and what is above it are one.
    """
    last = TICKS[-1]
    return MARGIN + math.log1p(-min(share, last)) / math.log1p(-last) * (SIDE - 2 * MARGIN)


def spread(interval: Mapping[str, float] | None) -> str:
    """Return a number with its 95 % interval; a dash when there is none."""
    if interval is None:
        return "–"
    return f"{iou(interval['point'])} ({iou(interval['low'])} … {iou(interval['high'])})"
