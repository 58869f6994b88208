"""Card gate-decision: what the gate says of a round, why, and what follows."""

from __future__ import annotations

from collections.abc import Sequence

from segcore.cards.markdown import plain
from segcore.outputs.report_text import iou
from segcore.records import RoundRecord
from segcore.trust.loop_policy import next_teacher, winner

HEADLINES = {
    "first": "the first to beat",
    "improved": "improved",
    "inconclusive": "inconclusive, neither a gain nor a loss is shown",
    "worse": "worse than the best before",
}


def gate_decision(history: Sequence[RoundRecord], goes_on: tuple[bool, str]) -> str:
    """Return the card of the last round of history. goes_on: whether the loop wants another round, and why."""
    last = history[-1]
    miou, decision = last.score.miou, last.decision
    reasons = "\n".join(f"- {plain(reason)}" for reason in decision.reasons)
    follows = "\n".join(f"- {sentence}" for sentence in what_follows(history, goes_on))
    return (
        f"## Round {last.round_index}: {HEADLINES[decision.outcome]}\n\n"
        f"Gate mIoU **{iou(miou.point)}** (95 % interval {iou(miou.low)} … {iou(miou.high)}) "
        f"on {last.score.num_images} images.\n\n"
        f"### Why\n\n{reasons}\n\n### What follows\n\n{follows}\n"
    )


def what_follows(history: Sequence[RoundRecord], goes_on: tuple[bool, str]) -> list[str]:
    """Return what the decision means for the loop, in sentences."""
    wanted, reason = goes_on
    best = winner(history).round_index
    if not wanted:
        return [f"The loop ends: {plain(reason)}.", f"The outputs are those of round {best}."]
    return [teacher_sentence(history), f"Another round follows: {plain(reason)}."]


def teacher_sentence(history: Sequence[RoundRecord]) -> str:
    """Return whose student labels next."""
    teacher = next_teacher(history)
    if teacher == history[-1].student:
        return "This round's student becomes the next teacher."
    trained = next(record.round_index for record in history if record.student == teacher)
    return f"The student of round {trained} stays the teacher."
