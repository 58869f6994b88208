"""Card round-metrics: every round so far with its interval, and the IoU of each class."""

from __future__ import annotations

from collections.abc import Sequence

from segcore.cards.markdown import count, plain, table
from segcore.outputs.report_data import RoundReport
from segcore.outputs.report_text import iou, percent, signed

HEADER = ("round", "gate mIoU (95 %)", "gain over the best before", "outcome", "labelled", "coverage")


def round_metrics(rounds: Sequence[RoundReport], class_names: Sequence[str]) -> str:
    """Return the card after the last of rounds; round 0 first."""
    score = rounds[-1].score
    scored = f"Scored on {count(score.num_images)} gate images"
    if score.num_excluded:
        scored += f"; {score.num_excluded} are in this model's lineage and do not score it"
    return f"{rounds_table(rounds)}\n\n{scored}.\n\n### IoU by class\n\n{class_table(rounds, class_names)}\n"


def rounds_table(rounds: Sequence[RoundReport]) -> str:
    """Return one row a round. labelled: images with pseudo-labels; coverage: share of their pixels that is kept."""
    return table(HEADER, [round_row(item) for item in rounds])


def round_row(item: RoundReport) -> tuple[str, ...]:
    """Return a round's cells."""
    delta, pseudo = item.decision.delta, item.pseudo
    return (
        str(item.round_index),
        f"{iou(item.miou.point)} ({iou(item.miou.low)} … {iou(item.miou.high)})",
        "–" if delta is None else f"{signed(delta.point)} ({signed(delta.low)} … {signed(delta.high)})",
        item.decision.outcome,
        "–" if pseudo is None else count(pseudo.num_images),
        "–" if pseudo is None else percent(1 - pseudo.ignored_share),
    )


def class_table(rounds: Sequence[RoundReport], class_names: Sequence[str]) -> str:
    """Return one row a class, one column a round."""
    header = ("class", *(f"round {item.round_index}" for item in rounds))
    rows = [
        (plain(name), *(iou(item.score.class_iou[class_id]) for item in rounds))
        for class_id, name in enumerate(class_names)
    ]
    return table(header, rows)
