"""Which models of a cross-validation make up its ensemble, as far as out-of-fold scores can tell.

Every labelled image is unseen by one single member, so no combination of members can be tried honestly: neither weights
nor a greedy selection over joint predictions. What can be known is whether a member did worse on its own fold than the
others did on theirs. Folds are random parts of the same images, so they are alike up to chance; a member goes only when
chance does not explain the difference. Those that stay get equal weights: unequal ones would follow how hard each fold
happens to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segcore.records import Interval
from segcore.trust.bootstrap import Floats, areas_of, draws_needed, draws_of, interval, iou_of
from segcore.trust.confusion import ConfusionTable, present_classes

MIN_MEMBERS = 2  # of fewer no ensemble can be made, and none is left out


@dataclass(frozen=True)
class MemberSpec:
    """How members are judged. level: chance that of equally good members any is left out, in (0, 0.5)."""

    level: float
    resamples: int
    seed: int


@dataclass(frozen=True)
class Member:
    """One fold's model. delta: mIoU on its fold minus that of the others on theirs; kept: part of the ensemble."""

    fold_index: int
    delta: Interval
    kept: bool


def choose_members(tables: Sequence[ConfusionTable], spec: MemberSpec) -> tuple[Member, ...]:
    """Return a verdict on each model. tables: out-of-fold confusions, one a fold, in order; at least two.

    The worst go first and never so many that fewer than two are left. Classes that the truth of the fold, or that of
    the others, does not hold are left out of both numbers.
    """
    deltas = [own_minus_others(tables, index, spec) for index in range(len(tables))]
    out = [index for index, delta in enumerate(deltas) if delta.high < 0]
    out = sorted(out, key=lambda index: (deltas[index].point, index))[: max(0, len(tables) - MIN_MEMBERS)]
    return tuple(Member(index, delta, index not in out) for index, delta in enumerate(deltas))


def own_minus_others(tables: Sequence[ConfusionTable], index: int, spec: MemberSpec) -> Interval:
    """Return the mIoU of one fold minus that of the other folds together, with an interval over images of both."""
    own = tables[index].counts
    others = np.concatenate([table.counts for number, table in enumerate(tables) if number != index])
    classes = present_classes(own.sum(axis=0)) & present_classes(others.sum(axis=0))
    tail = spec.level / len(tables)
    if not classes.any():
        return Interval(0.0, -1.0, 1.0)
    first, second = areas_of(own, classes), areas_of(others, classes)
    num_images = min(len(first), len(second))
    num_draws = draws_needed(spec.resamples, tail, num_images)
    draws = [mious(areas, num_draws, spec.seed, stream) for stream, areas in enumerate((first, second))]
    point = iou_of(first.sum(axis=0)).mean() - iou_of(second.sum(axis=0)).mean()
    return interval(float(point), draws[0] - draws[1], tail, num_images, 1.0)


def mious(areas: Floats, num_draws: int, seed: int, stream: int) -> NDArray[np.float64]:
    """Return the mIoU of randomly weighed images, (num_draws,)."""
    means: NDArray[np.float64] = draws_of(areas, num_draws, np.random.default_rng([seed, stream])).mean(axis=1)
    return means
