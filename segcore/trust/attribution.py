"""What a gain is made of: training longer, and pseudo-labels. The control tells them apart.

The control is a student of the labelled images alone, trained exactly as the winner was: schedule, seed, batch. What it
gains over round 0 is what training longer gives (or another seed, where the schedules are equal); what the winner gains
over it is what the pseudo-labels give.
"""

from __future__ import annotations

from dataclasses import dataclass

from segcore.records import Interval
from segcore.trust.confusion import ConfusionTable
from segcore.trust.gate import SCORE_TAIL, GateSpec, compare


@dataclass(frozen=True)
class Scored:
    """The confusions of round 0, of the control and of the winner."""

    first: ConfusionTable
    control: ConfusionTable
    winner: ConfusionTable


@dataclass(frozen=True)
class Attribution:
    """The parts of a gain in mIoU, on the same images, each with its 95 % interval; the points add up to whole.

    same_schedule: round 0 was trained as long as the control, so that `longer` is another seed's doing, hence noise.
    """

    whole: Interval
    longer: Interval
    pseudo: Interval
    num_images: int
    same_schedule: bool


def attribute(scored: Scored, resamples: int, seed: int, same_schedule: bool) -> Attribution | None:
    """Return the parts of the winner's gain over round 0; None when no image scored all three."""
    tables = (scored.first, scored.control, scored.winner)
    shared = sorted(set.intersection(*(set(table.image_ids) for table in tables)))
    if not shared:
        return None
    first, control, best = (table.select(shared) for table in tables)
    names = tuple(str(number) for number in range(best.num_classes))
    spec = GateSpec(SCORE_TAIL, 1, resamples, seed, names, baseline_round=0)
    whole, longer, pseudo = (
        compare(before, after, spec).gain for before, after in ((first, best), (first, control), (control, best))
    )
    return Attribution(whole, longer, pseudo, len(shared), same_schedule)
