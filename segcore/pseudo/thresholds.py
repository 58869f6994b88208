"""Thresholds per class: the confidence from which a predicted pixel becomes a pseudo-label.

`fixed` takes them from the config. `class_balanced` keeps the surest share of every predicted class, so that rare and
hard classes are not lost (Zou et al. 2018, "Unsupervised Domain Adaptation for Semantic Segmentation via
Class-Balanced Self-Training", ECCV, equations 5 and 6); the share grows with the rounds.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.config.schema import FilterConfig
from segcore.errors import ConfigError
from segcore.pseudo.confidence import LEVEL_EDGES, NO_LEVEL, level_for


@dataclass(frozen=True)
class Thresholds:
    """One threshold per class id; a pixel is kept if its level reaches the class's.

    tau: confidence in (0, 1]. level: smallest level kept, 0..256; 256 keeps nothing. coverage: expected share kept of
    the pixels predicted as the class, by confidence alone; None for a class that is never predicted.
    """

    class_names: tuple[str, ...]
    policy: str
    round_index: int
    tau: tuple[float, ...]
    level: tuple[int, ...]
    coverage: tuple[float | None, ...]

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object with one entry per class."""
        rows = zip(self.class_names, self.tau, self.level, self.coverage, strict=True)
        keys = ("name", "tau", "level", "coverage")
        classes = [dict(zip(keys, row, strict=True)) for row in rows]
        return {"policy": self.policy, "round_index": self.round_index, "classes": classes}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Thresholds:
        """Return what to_json was called on."""
        name, tau, level, coverage = (
            tuple(row[key] for row in value["classes"]) for key in ("name", "tau", "level", "coverage")
        )
        return cls(name, value["policy"], value["round_index"], tau, level, coverage)


def thresholds(
    config: FilterConfig, class_names: Sequence[str], histogram: NDArray[np.int64], round_index: int
) -> Thresholds:
    """Return the thresholds of a round.

    histogram: (C, 256) int64, pixels of the pool by predicted class and level. round_index: 1-based round whose
    student will be trained on the result; it sets the share of `class_balanced`.
    """
    if config.policy == "fixed":
        tau = fixed_tau(config.tau, class_names)
    else:
        share = share_of_round(config, round_index)
        tau = tuple(max(config.min_tau, balanced_tau(counts, share)) for counts in histogram)
    level = tuple(level_for(value) for value in tau)
    coverage = tuple(share_kept(counts, first) for counts, first in zip(histogram, level, strict=True))
    return Thresholds(tuple(class_names), config.policy, round_index, tau, level, coverage)


def fixed_tau(tau: float | Mapping[str, float], class_names: Sequence[str]) -> tuple[float, ...]:
    """Return the configured threshold of every class; a mapping must name exactly the classes of the run."""
    if not isinstance(tau, Mapping):
        return (tau,) * len(class_names)
    for name in tau:
        if name not in class_names:
            near = difflib.get_close_matches(name, class_names, n=1, cutoff=0.0)
            raise ConfigError(
                f"filter.tau names the class {name!r}, which this run does not have; "
                f"did you mean {near[0]!r}? Classes: {', '.join(class_names)}"
            )
    missing = [name for name in class_names if name not in tau]
    if missing:
        raise ConfigError(
            f"filter.tau must name every class, got none for {', '.join(missing)}; add them or give one number for all"
        )
    return tuple(tau[name] for name in class_names)


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
