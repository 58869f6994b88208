"""A quality card in words and cells, for the report, for Prefect and for the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segcore.outputs.report_data import CardReport
from segcore.outputs.report_text import iou, percent
from segcore.trust.alarm_text import grouped, sentences

HEADER = (
    "class", "tau", "coverage", "expected precision (95 %)", "share of kept", "share of truth", "confidence in pool",
    "changed since last", "since first",
)  # fmt: skip


def card_report(title: str, card: Mapping[str, Any]) -> CardReport:
    """Return a card as it is shown."""
    rows = tuple(class_cells(row) for row in card["classes"])
    return CardReport(title, facts(card), sentences(card), grouped(card), rows)


def class_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of one class."""
    return (
        row["name"],
        iou(row["tau"]),
        percent(row["coverage"]),
        between(row["precision"]),
        percent(row["kept_share"]),
        percent(row["truth_share"]),
        iou(row["pool_confidence"]),
        percent(row["churn_last"]),
        percent(row["churn_first"]),
    )


def facts(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is known over all classes, a sentence each."""
    found = [
        f"{percent(card['coverage'])} of the pixels of {card['num_images']} images are kept, "
        f"{percent(card['share_ignored'])} ignored (policy {card['policy']}).",
        f"On {card['num_calib']} calib images the teacher is right on {percent(card['accuracy'])} of all pixels; "
        f"its confidence is off by {percent(card['ece'])} (expected calibration error).",
    ]
    changed = [
        f"{percent(found['changed'])} since the {since} teacher" for since, found in card["churn"].items() if found
    ]
    if changed:
        found.append(f"Pixels predicted otherwise, on {card['num_sampled']} images: {', '.join(changed)}.")
    shift = card["shift"]
    if shift is not None:
        found.append(
            f"Pool against calib: confidence {shift['mean_confidence_is']}, distance {iou(shift['distance'])} "
            f"(p {iou(shift['p_value'])})."
        )
    return tuple(found)


def between(interval: Mapping[str, float] | None) -> str:
    """Return a share with its interval; a dash when there is none."""
    if interval is None:
        return "–"
    return f"{percent(interval['point'])} ({percent(interval['low'])} … {percent(interval['high'])})"
