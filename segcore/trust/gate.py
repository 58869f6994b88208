"""The gate: is the student better than the best so far, on images that neither has learnt from?

A pure function of per-image confusions (docs/explanation/gate.md). `improved` needs both: an interval of the gain
that lies above 0, and a swap test that rarely gives as large a gain by chance; `worse` the same below 0; all else is
`inconclusive`, ties and too few images included. The level is divided by the number of comparisons a run may make
(Bonferroni), so that at most that share of runs with nothing gained claims a gain.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segcore.errors import DataError, HonestScoreError
from segcore.records import GateDecision, Interval, Score
from segcore.trust.bootstrap import (
    PairedDraws,
    areas_of,
    draws_needed,
    draws_of,
    interval,
    iou_of,
    paired_draws,
    swap_test,
)
from segcore.trust.confusion import ConfusionTable, aacc, iou_from, macc, present_classes
from segcore.trust.harm import HarmSpec, harm_sentence, harmed

SCORE_TAIL = 0.025  # 95 % interval of a single score
SHOWN_CLASSES = 3  # class changes named in the reasons
MINUS = "\N{MINUS SIGN}"

Outcome = Literal["improved", "inconclusive", "worse"]


@dataclass(frozen=True)
class GateSpec:
    """How a student is judged.

    level: chance of a false gain per run, in (0, 0.5); and, apart from that, of a class falsely called harmed.
    num_comparisons: gates a run may pass through (loop.rounds).
    resamples: bootstrap and swap draws, at least; more are drawn where the level asks for it. baseline_round: None
    without a baseline. num_excluded: gate images that could not score this lineage, passed on into the Score.
    class_harm: whether a class that got significantly worse is told of, or makes the round `worse`.
    """

    level: float
    num_comparisons: int
    resamples: int
    seed: int
    class_names: tuple[str, ...]
    baseline_round: int | None
    num_excluded: int = 0
    class_harm: Literal["flag", "reject"] = "flag"

    @property
    def level_per_round(self) -> float:
        """Return the chance of a false gain that one comparison may use up."""
        return self.level / max(self.num_comparisons, 1)


@dataclass(frozen=True)
class Comparison:
    """What the gate measured. gain: mIoU of student minus baseline; class_gain: per class, None if not in truth.

    chance_gain, chance_loss: how often swapping the two models' results gives as much, in (0, 1].
    """

    base: float
    student: float
    gain: Interval
    class_gain: tuple[Interval | None, ...]
    chance_gain: float
    chance_loss: float
    num_images: int


def gate(
    baseline: ConfusionTable | None,
    candidate: ConfusionTable,
    spec: GateSpec,
    teacher: ConfusionTable | None = None,
) -> tuple[GateDecision, Score]:
    """Judge a student against the best round so far, and each of its classes against its teacher.

    baseline: confusions of that round, None in round 0 (outcome `first`). candidate: confusions of the student.
    teacher: of the model that labelled for it, None where that was never scored. Images in both are compared. Raises
    HonestScoreError without a labelled pixel, DataError when tables do not fit.
    """
    result = score(candidate, spec)
    if baseline is None:
        return GateDecision("first", (first_reason(result),), None), result
    if baseline.num_classes != candidate.num_classes:
        raise DataError(
            f"gate needs two models with the same classes, got {baseline.num_classes} and {candidate.num_classes}; "
            "start a new run for other classes"
        )
    both = set(baseline.image_ids)
    shared = tuple(sorted(image_id for image_id in candidate.image_ids if image_id in both))
    if not shared or not present_classes(candidate.select(shared).total()).any():
        text = f"round {spec.baseline_round} and this round share no gate image with a label: nothing to compare"
        return GateDecision("inconclusive", (text,), None), result
    measured = compare(baseline.select(shared), candidate.select(shared), spec)
    harm = {} if teacher is None else class_harm(teacher, candidate, spec)
    outcome: Outcome = "worse" if harm and spec.class_harm == "reject" else outcome_of(measured, spec)
    reasons = reasons_of(outcome, measured, spec, len(candidate.image_ids))
    if harm:
        reasons = (reasons[0], harm_sentence(harm, spec.class_harm == "reject"), *reasons[1:])
    return GateDecision(outcome, reasons, measured.gain, tuple(harm)), result


def score(table: ConfusionTable, spec: GateSpec) -> Score:
    """Score one checkpoint: mIoU over the classes in truth with its 95 % interval, IoU of each class, aAcc, mAcc."""
    table = table.select(sorted(table.image_ids))
    total = table.total()
    classes = present_classes(total)
    if table.num_classes != len(spec.class_names):
        raise DataError(
            f"confusions must be of {len(spec.class_names)} classes, got {table.num_classes}; evaluate again"
        )
    if not classes.any():
        raise HonestScoreError(
            f"a score needs labelled pixels, the {len(table.image_ids)} scored images have none; give them labels"
        )
    areas = areas_of(table.counts, classes)
    num_images = len(areas)
    draws = draws_of(areas, draws_needed(spec.resamples, SCORE_TAIL, num_images), stream(spec.seed, 0))
    spread = interval(float(iou_of(areas.sum(axis=0)).mean()), draws.mean(axis=1), SCORE_TAIL, num_images, 1.0)
    return Score(
        miou=Interval(spread.point, max(spread.low, 0.0), spread.high),
        class_iou=tuple(None if math.isnan(iou) else float(iou) for iou in iou_from(total)),
        aacc=aacc(total),
        macc=macc(total),
        num_images=num_images,
        num_excluded=spec.num_excluded,
    )


def compare(baseline: ConfusionTable, candidate: ConfusionTable, spec: GateSpec) -> Comparison:
    """Measure the gain of candidate over baseline. Both name the same images in the same order; some are labelled."""
    classes = present_classes(candidate.total())
    base, student = areas_of(baseline.counts, classes), areas_of(candidate.counts, classes)
    num_images, tail = len(base), spec.level_per_round
    num_draws = draws_needed(spec.resamples, tail, num_images)
    draws = paired_draws(base, student, num_draws, stream(spec.seed, 1))
    before, after = iou_of(base.sum(axis=0)), iou_of(student.sum(axis=0))
    chance_gain, chance_loss = swap_test(base, student, num_draws, stream(spec.seed, 2))
    return Comparison(
        base=float(before.mean()),
        student=float(after.mean()),
        gain=interval(float(after.mean() - before.mean()), gains_of(draws).mean(axis=1), tail, num_images, 1.0),
        class_gain=class_gains(after - before, gains_of(draws), classes, tail),
        chance_gain=chance_gain,
        chance_loss=chance_loss,
        num_images=num_images,
    )


def class_harm(teacher: ConfusionTable, candidate: ConfusionTable, spec: GateSpec) -> dict[str, Interval]:
    """Return the change of every class that got significantly worse than the teacher's, by its name.

    Not against the best round: that was picked for its luck, and against it every class of an equal student falls.
    """
    both = set(teacher.image_ids)
    shared = tuple(sorted(image_id for image_id in candidate.image_ids if image_id in both))
    before, after = teacher.select(shared), candidate.select(shared)
    classes = present_classes(after.total())
    base, student = areas_of(before.counts, classes), areas_of(after.counts, classes)
    found = harmed(base, student, HarmSpec(spec.level_per_round, spec.resamples, spec.seed))
    names = [name for name, present in zip(spec.class_names, classes, strict=True) if present]
    return {names[position]: change for position, change in found.items()}


def outcome_of(measured: Comparison, spec: GateSpec) -> Outcome:
    """Return the outcome: a claim needs the interval and the swap test to agree."""
    if measured.gain.low > 0 and measured.chance_gain <= spec.level_per_round:
        return "improved"
    if measured.gain.high < 0 and measured.chance_loss <= spec.level_per_round:
        return "worse"
    return "inconclusive"


def gains_of(draws: PairedDraws) -> NDArray[np.float64]:
    """Return (R, K) gains in IoU per resample and class."""
    return draws.other - draws.base


def class_gains(
    change: NDArray[np.float64], draws: NDArray[np.float64], classes: NDArray[np.bool_], tail: float
) -> tuple[Interval | None, ...]:
    """Return the gain of each class with its interval. change: (K,), draws: (R, K), classes: (C,) with K true."""
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    found: list[Interval | None] = [None] * len(classes)
    for column, class_id in enumerate(np.flatnonzero(classes)):
        found[class_id] = Interval(float(change[column]), float(low[column]), float(high[column]))
    return tuple(found)


def first_reason(result: Score) -> str:
    """Return the reason of round 0, which has nothing to beat."""
    return (
        f"mIoU {result.miou.point:.3f} (95 % interval {result.miou.low:.3f} … {result.miou.high:.3f}) on "
        f"{count_of(result.num_images)}; the first round has nothing to be compared with"
    )


def reasons_of(outcome: Outcome, measured: Comparison, spec: GateSpec, num_candidate: int) -> tuple[str, ...]:
    """Return why, in sentences for people: the finding, doubt if any, power, class changes, optimism."""
    reasons = [headline(measured, spec)]
    if outcome == "inconclusive":
        reasons.append(doubt(measured, spec))
    missed = measured.gain.point - measured.gain.low
    reasons.append(
        f"power: with these {count_of(measured.num_images)} a gain under {missed:.3f} would be missed half the time"
    )
    changes = class_changes(measured, spec.class_names)
    if changes:
        reasons.append(changes)
    if measured.num_images < num_candidate:
        reasons.append(
            f"compared on the {measured.num_images} of {num_candidate} images that both rounds may be scored on"
        )
    if outcome == "improved":
        reasons.append(
            "this round was picked by this score, so its mIoU is optimistic; a report set would tell by how much"
        )
    return tuple(reasons)


def headline(measured: Comparison, spec: GateSpec) -> str:
    """Return the finding: both scores, the gain, its interval and what it is worth."""
    gain = measured.gain
    side = "above" if gain.point > 0 else "below"
    relation = f"{abs(gain.point):.3f} {side}" if gain.point else "equal to"
    return (
        f"gate mIoU {measured.student:.3f} is {relation} round {spec.baseline_round} at {measured.base:.3f} "
        f"({percent(1 - 2 * spec.level_per_round)} interval {signed(gain.low)} … {signed(gain.high)}, "
        f"{count_of(measured.num_images)})"
    )


def doubt(measured: Comparison, spec: GateSpec) -> str:
    """Return why neither a gain nor a loss is claimed."""
    if measured.gain.low <= 0 <= measured.gain.high:
        return "the interval holds 0: neither a gain nor a loss is shown"
    chance = measured.chance_gain if measured.gain.low > 0 else measured.chance_loss
    return (
        f"swapping the two models' results image by image gives as much in {percent(chance)} of draws, "
        f"more than the {percent(spec.level_per_round)} allowed: the change rests on too few images"
    )


def class_changes(measured: Comparison, names: tuple[str, ...]) -> str:
    """Return the largest changes in class IoU as a sentence, "" when no class changed."""
    known = [(gain, name) for gain, name in zip(measured.class_gain, names, strict=True) if gain is not None]
    known = [(gain, name) for gain, name in known if gain.point]
    known.sort(key=lambda item: -abs(item[0].point))
    shown = [f"{name} {signed(g.point)} ({signed(g.low)} … {signed(g.high)})" for g, name in known[:SHOWN_CLASSES]]
    return f"largest changes in class IoU: {', '.join(shown)}" if shown else ""


def signed(value: float) -> str:
    """Return a change with its sign, three digits."""
    shown = round(value, 3) + 0.0  # no "-0.000"
    return f"{shown:+.3f}".replace("-", MINUS)


def percent(share: float) -> str:
    """Return a share in [0, 1] as people read it, at most one digit after the point."""
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def count_of(num_images: int) -> str:
    """Return "1 image" or "n images"."""
    return "1 image" if num_images == 1 else f"{num_images} images"


def stream(seed: int, purpose: int) -> np.random.Generator:
    """Return the generator of one purpose: scores, intervals and swaps do not disturb each other."""
    return np.random.default_rng([seed % 2**63, purpose])
