"""Card round-metrics: every round so far with its interval, and the IoU of each class."""

from __future__ import annotations

from collections.abc import Sequence

from segcore.cards.markdown import count, plain, table
from segcore.outputs.report_data import RoundReport
from segcore.outputs.report_text import iou, percent, signed
from segcore.records import Interval

HEADER = ("round", "gate mIoU", "95 % interval", "against the best before", "outcome", "pseudo-labelled", "coverage")


def round_metrics(rounds: Sequence[RoundReport], class_names: Sequence[str]) -> str:
    """Return the card after the last of rounds; round 0 first."""
    score = rounds[-1].score
    scored = f"Scored on {count(score.num_images)} gate images"
    if score.num_excluded:
        scored += f"; {score.num_excluded} are in this model's lineage and do not score it"
    return f"{rounds_table(rounds)}\n\n{scored}.\n\n### IoU by class\n\n{class_table(rounds, class_names)}\n"


def rounds_table(rounds: Sequence[RoundReport]) -> str:
    """Return one row a round."""
    return table(HEADER, [round_row(item, best_before(rounds[:number])) for number, item in enumerate(rounds)])


def round_row(item: RoundReport, best: RoundReport | None) -> tuple[str, ...]:
    """Return a round's cells. best: of the rounds before."""
    delta, pseudo = item.decision.delta, item.pseudo
    against = "–" if delta is None or best is None else f"{change(delta)} over round {best.round_index}"
    return (
        str(item.round_index),
        iou(item.miou.point),
        f"{iou(item.miou.low)} … {iou(item.miou.high)}",
        against,
        item.decision.outcome,
        "–" if pseudo is None else count(pseudo.num_images),
        "–" if pseudo is None else percent(1 - pseudo.ignored_share),
    )


def best_before(rounds: Sequence[RoundReport]) -> RoundReport | None:
    """Return the round with the best point score, the earliest of equals; None of none."""
    return max(rounds, key=lambda item: (item.miou.point, -item.round_index), default=None)


def change(delta: Interval) -> str:
    """Return a gain with its interval."""
    return f"{signed(delta.point)} ({signed(delta.low)} … {signed(delta.high)})"


def class_table(rounds: Sequence[RoundReport], class_names: Sequence[str]) -> str:
    """Return one row a class, one column a round."""
    header = ("class", *(f"round {item.round_index}" for item in rounds))
    rows = [
        (plain(name), *(iou(item.score.class_iou[class_id]) for item in rounds))
        for class_id, name in enumerate(class_names)
    ]
    return table(header, rows)
