"""Thresholds per class: the confidence from which a predicted pixel becomes a pseudo-label.

`fixed` takes them from the config. `class_balanced` keeps the surest share of every predicted class, so that rare and
hard classes are not lost (Zou et al. 2018, "Unsupervised Domain Adaptation for Semantic Segmentation via
Class-Balanced Self-Training", ECCV, equations 5 and 6); the share grows with the rounds. `calibrated` promises a
precision (segcore/pseudo/calibrated.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.config.label_schema import FilterConfig
from segcore.data.classes import require_known
from segcore.errors import ConfigError
from segcore.pseudo.calib_counts import ClassCounts, class_counts, pooled_counts
from segcore.pseudo.calibrated import Promise, calibrated_cut
from segcore.pseudo.confidence import LEVEL_EDGES, NO_LEVEL, level_for
from segcore.pseudo.histograms import CalibHistogram
from segcore.trust.precision import precision

MIN_IMAGES = 3  # of calib that tell more of a class than min_tau does
CLASS_KEYS = ("name", "tau", "level", "coverage", "promise")


@dataclass(frozen=True)
class Thresholds:
    """One threshold per class id; a pixel is kept if its level reaches the class's.

    tau: confidence in (0, 1]. level: smallest level kept, 0..256; 256 keeps nothing. coverage: expected share kept of
    the pixels predicted as the class, by confidence alone; None for a class that is never predicted. promise: what
    `calibrated` says of the class; None under other policies, which promise nothing.
    """

    class_names: tuple[str, ...]
    policy: str
    round_index: int
    tau: tuple[float, ...]
    level: tuple[int, ...]
    coverage: tuple[float | None, ...]
    promise: tuple[Promise | None, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object with one entry per class."""
        rows = zip(self.class_names, self.tau, self.level, self.coverage, self.promise, strict=True)
        classes = [dict(zip(CLASS_KEYS, row, strict=True)) for row in rows]
        return {"policy": self.policy, "round_index": self.round_index, "classes": classes}

    def by_promise(self) -> dict[str, list[str]]:
        """Return the names of the classes by what they are promised; empty under policies that promise nothing."""
        found: dict[str, list[str]] = {}
        for name, promise in zip(self.class_names, self.promise, strict=True):
            if promise is not None:
                found.setdefault(promise, []).append(name)
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Thresholds:
        """Return what to_json was called on."""
        name, *columns = (tuple(row[key] for row in value["classes"]) for key in CLASS_KEYS)
        return cls(name, value["policy"], value["round_index"], *columns)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What thresholds are chosen by. pool: (C, 256) int64 pixels by predicted class and level. calib: with truth."""

    pool: NDArray[np.int64]
    calib: CalibHistogram


def thresholds(config: FilterConfig, class_names: Sequence[str], evidence: Evidence, round_index: int) -> Thresholds:
    """Return the thresholds of a round.

    round_index: 1-based round whose student will be trained on the result; it sets the share of `class_balanced`.
    """
    names = tuple(class_names)
    promise: tuple[Promise | None, ...] = (None,) * len(names)
    if config.policy == "fixed":
        tau = by_class("filter.tau", config.tau, names)
    elif config.policy == "calibrated":
        targets = by_class("filter.target_precision", config.target_precision, names)
        pooled = pooled_counts(evidence.calib)
        cuts = [calibrated_cut(class_counts(evidence.calib, k), pooled, target) for k, target in enumerate(targets)]
        tau, promise = tuple(cut.tau for cut in cuts), tuple(cut.promise for cut in cuts)
    else:
        tau = balanced_taus(config, names, evidence, share_of_round(config, round_index))
    level = tuple(level_for(value) for value in tau)
    coverage = tuple(share_kept(counts, first) for counts, first in zip(evidence.pool, level, strict=True))
    return Thresholds(names, config.policy, round_index, tau, level, coverage, promise)


def by_class(field: str, value: float | Mapping[str, float], class_names: Sequence[str]) -> tuple[float, ...]:
    """Return the configured number of every class; a mapping must name exactly the classes of the run."""
    if not isinstance(value, Mapping):
        return (value,) * len(class_names)
    require_known(field, value, class_names)
    missing = [name for name in class_names if name not in value]
    if missing:
        raise ConfigError(
            f"{field} must name every class, got none for {', '.join(missing)}; add them or give one number for all"
        )
    return tuple(value[name] for name in class_names)


def balanced_taus(
    config: FilterConfig, class_names: Sequence[str], evidence: Evidence, share: float
) -> tuple[float, ...]:
    """Return, per class, the threshold that keeps its surest share, but not under what lowest_tau allows."""
    targets = by_class("filter.target_precision", config.target_precision, class_names)
    return tuple(
        max(balanced_tau(counts, share), lowest_tau(config.min_tau, class_counts(evidence.calib, k), target))
        for k, (counts, target) in enumerate(zip(evidence.pool, targets, strict=True))
    )


def lowest_tau(min_tau: float, calib: ClassCounts, target: float) -> float:
    """Return min_tau, or less for a class of which the teacher is unsure and still right.

    It is the lowest tau up to min_tau at which calib's pixels, on MIN_IMAGES images or more, are right at the target
    precision: an estimate, no promise. Where calib shows too little of the class, min_tau stays.
    """
    below = slice(0, min(level_for(min_tau), NO_LEVEL - 1))
    enough = np.count_nonzero(calib.count[:, below], axis=0) >= MIN_IMAGES
    right = np.flatnonzero(enough & (precision(calib.count[:, below], calib.correct[:, below]) >= target))
    return float(LEVEL_EDGES[right[0]]) if right.size else min_tau


def share_of_round(config: FilterConfig, round_index: int) -> float:
    """Return the share of each class to keep: it starts at share in round 1 and grows to at most share_max."""
    return min(config.share_max, config.share + config.share_step * max(0, round_index - 1))


def balanced_tau(counts: NDArray[np.int64], share: float) -> float:
    """Return the highest level edge that at least `share` of a class's pixels reach; 1.0 if it has none.

    counts: (256,) int64 pixels by level. Pixels of one level are kept or dropped together.
    """
    total = int(counts.sum())
    needed = math.ceil(share * total - 1e-6)  # 0.6 + 0.1 is a little more than 0.7
    if needed == 0:
        return 1.0
    reached = np.cumsum(counts[::-1])[::-1]  # pixels at or above each level, falling
    highest = int(np.flatnonzero(reached >= needed)[-1])
    return float(LEVEL_EDGES[highest])


def share_kept(counts: NDArray[np.int64], level: int) -> float | None:
    """Return the share of a class's pixels at or above a level; None if it has none."""
    total = int(counts.sum())
    if total == 0:
        return None
    return 0.0 if level == NO_LEVEL else int(counts[level:].sum()) / total
