"""What follows a round: who won so far, who labels next, whether to go on. Pure functions of the history.

`worse` keeps the old teacher; `improved` and `inconclusive` make the student the next teacher, since an inconclusive
round may lead on. The winner is the round with the best point score, the earlier one on a tie. Patience counts the
rounds since that was last beaten. A round that was rejected for the harm it does to a class (`worse` in spite of its
point score, loop.class_harm) cannot win. Nothing here looks at a clock: the hours spent are handed in.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from segcore.config.schema import LoopConfig
from segcore.records import Checkpoint, RoundRecord

SEED_RANGE = 2**31
SEED_STRIDE = 0x9E3779B1  # odd, hence coprime to SEED_RANGE: no two rounds of a run share a seed

MEMBER_STRIDE = 1 << 16  # rounds that the seeds of an ensemble's next model lie away: more than a run ever has


def round_seed(seed: int, round_index: int) -> int:
    """Return the training seed of a round, in [0, 2**31): fixed by (seed, round_index), different in every round."""
    start = int.from_bytes(hashlib.sha256(f"segloop round seed {seed}".encode()).digest()[:8], "big")
    return (start + round_index * SEED_STRIDE) % SEED_RANGE


def member_seed(seed: int, round_index: int, member: int) -> int:
    """Return the training seed of one of a round's models, in [0, 2**31). member: 0 is the round's own seed."""
    return round_seed(seed, round_index) if member == 0 else round_seed(seed, round_index + member * MEMBER_STRIDE)


def winner(history: Sequence[RoundRecord]) -> RoundRecord:
    """Return the round with the best mIoU point score that is not `worse`, the earliest of equals. history: not empty.

    The winner so far is also what the gate compares the next student with.
    """
    best = history[0]
    for record in history[1:]:
        if record.decision.outcome != "worse" and _beats(record.score.miou.point, best.score.miou.point):
            best = record
    return best


def next_teacher(history: Sequence[RoundRecord]) -> Checkpoint:
    """Return who labels the next round. history: round 0 first, not empty."""
    teacher = history[0].student
    for record in history[1:]:
        if record.decision.outcome != "worse":
            teacher = record.student
    return teacher


def wants_another_round(history: Sequence[RoundRecord], loop: LoopConfig, hours_spent: float = 0.0) -> tuple[bool, str]:
    """Return whether the loop goes on, and why or why not, in words for people.

    hours_spent: training time of the rounds so far, in hours.
    """
    if not history:
        return True, "round 0 comes first"
    num_after_zero = len(history) - 1
    if num_after_zero >= loop.rounds:
        return False, f"all {loop.rounds} rounds allowed after round 0 are done (loop.rounds)"
    best = winner(history).round_index
    since_best = history[-1].round_index - best
    if since_best >= loop.patience:
        return (
            False,
            f"no new best for {since_best} rounds, round {best} stays the best (loop.patience {loop.patience})",
        )
    if loop.max_hours is not None and hours_spent >= loop.max_hours:
        return False, f"{hours_spent:.2f} h of training are spent (loop.max_hours {loop.max_hours:g})"
    return True, f"round {best} is the best so far; {since_best} of {loop.patience} rounds without a new best"


def _beats(candidate: float, best: float) -> bool:
    """Return whether candidate is the better score; a number beats nan."""
    return candidate > best or (math.isnan(best) and not math.isnan(candidate))
