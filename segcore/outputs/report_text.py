"""The sentences and number formats of a report: what is claimed, and what is not."""

from __future__ import annotations

from segcore.outputs.report_data import ReportData
from segcore.records import Interval

MINUS = "\N{MINUS SIGN}"
FEW_GATE_IMAGES = 100


def headline(data: ReportData) -> str:
    """Return the result in one sentence, with its interval."""
    best, num_rounds = data.winner, len(data.rounds)
    score = f"gate mIoU {iou(best.miou.point)} ({spread(best.miou)}) on {best.score.num_images} images"
    if num_rounds == 1:
        return f"Trained on labelled images only: {score}."
    if best is data.first:
        return f"No round beat round {best.round_index}, {start_of(data)}: {score}."
    gain = best.miou.point - data.first.miou.point
    return (
        f"Round {best.round_index} is the best of {num_rounds}: {score}, {iou(gain)} above round "
        f"{data.first.round_index} ({start_of(data)}, {iou(data.first.miou.point)})."
    )


def caveats(data: ReportData) -> list[str]:
    """Return what the headline does not say, most important first."""
    found = [gate_caveat(data), harm_caveat(data), control_caveat(data), report_caveat(data)]
    best = data.winner.score
    if best.num_excluded:
        found.append(
            f"{best.num_excluded} gate images could not score this model, because it or a teacher of it learnt from "
            "them or from near-duplicates."
        )
    if best.num_images < FEW_GATE_IMAGES:
        found.append(f"The gate has only {best.num_images} images: small gains go unseen; the gate states its power.")
    return [text for text in (*found, data.refit) if text]


def gate_caveat(data: ReportData) -> str:
    """Return what the gate said of the winner."""
    best = data.winner
    if best is data.first:
        return ""
    if best.decision.outcome == "improved":
        return "The gate accepted this round as a gain over the best before it."
    return (
        f"For the gate this round is {best.decision.outcome} against the best before it: it wins by its point score, "
        "and the last step of the gain may be chance."
    )


def harm_caveat(data: ReportData) -> str:
    """Return which classes the winner is significantly worse at than its teacher."""
    harmed = data.winner.decision.harmed
    return f"The best round is significantly worse than its teacher at {', '.join(harmed)}." if harmed else ""


def control_caveat(data: ReportData) -> str:
    """Return how the gain divides into longer training and pseudo-labels, when there is a control."""
    if data.control is None:
        return "" if data.winner is data.first else "No control was trained: part of the gain may be longer training."
    scored = (
        f"A student without pseudo-labels on the final schedule scores {iou(data.control.miou.point)} "
        f"({spread(data.control.miou)})"
    )
    parts = data.attribution
    if parts is None:
        return f"{scored}, on other images than round {data.first.round_index}, so the gain cannot be divided."
    longer = "another seed (the schedule is the same, so this is chance)" if parts.same_schedule else "longer training"
    return (
        f"{scored}: of the change of {change(parts.whole)}, {change(parts.longer)} is {longer} and "
        f"{change(parts.pseudo)} pseudo-labels (95 % intervals on {parts.num_images} images; the winner was picked by "
        "its score, so its part is optimistic)."
    )


def change(interval: Interval) -> str:
    """Return a change with its interval."""
    return f"{signed(interval.point)} ({signed(interval.low)} … {signed(interval.high)})"


def report_caveat(data: ReportData) -> str:
    """Return the number on the report set, or that the gate score has no unbiased counterpart."""
    if data.report_score is not None:
        found = data.report_score
        return (
            f"On the report set, used once: mIoU {iou(found.miou.point)} ({spread(found.miou)}, {found.num_images} "
            "images). This is the number to quote."
        )
    if len(data.rounds) == 1:
        return ""
    return "The winner was picked by its gate score, so that score is optimistic; there is no report set to correct it."


def start_of(data: ReportData) -> str:
    """Return what the first round is."""
    return "labelled images only" if data.first.pseudo is None else "the first round"


def iou(value: float | None) -> str:
    """Return an IoU or another fraction with three digits; a dash when there is none."""
    return "–" if value is None else f"{value:.3f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """Return a change with its sign and three digits; a dash when there is none."""
    return "–" if value is None else f"{round(value, 3) + 0.0:+.3f}".replace("-", MINUS)


def percent(share: float | None) -> str:
    """Return a share in [0, 1] as percent with one digit; a dash when there is none."""
    return "–" if share is None else f"{100 * share:.1f} %"


def spread(interval: Interval) -> str:
    """Return the 95 % interval of a score in words."""
    return f"95 % interval {iou(interval.low)} … {iou(interval.high)}"


def duration(seconds: float | None) -> str:
    """Return a time as people read it: 42.3 s, 3 min 05 s, 2 h 07 min; a dash when there is none."""
    if seconds is None:
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        return f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
