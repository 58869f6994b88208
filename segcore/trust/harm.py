"""Per-class harm: a class that a student is significantly worse at than its teacher, whatever its mIoU says.

A mean over classes can rise while a rare class is lost. A class counts as harmed when two tests agree, as for the gain
of the whole (docs/explanation/gate.md): the interval of its change lies under 0, and swapping the two models' results
image by image rarely loses as much. The level is divided by the number of classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segcore.records import Interval
from segcore.trust.bootstrap import draws_needed, interval, iou_of, paired_draws

DRAWS_AT_ONCE = 500  # keeps memory flat however many images

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HarmSpec:
    """How classes are judged. level: chance that any class of an equally good student counts as harmed."""

    level: float
    resamples: int
    seed: int


def harmed(base: Floats, student: Floats, spec: HarmSpec) -> dict[int, Interval]:
    """Return the change in IoU of every harmed class, by its position among the K classes.

    base, student: (N, 2, K) hits and union of each image and class (areas_of in segcore/trust/bootstrap.py).
    """
    num_classes = base.shape[2]
    tail = spec.level / max(num_classes, 1)
    num_draws = draws_needed(spec.resamples, tail, len(base))
    rng = np.random.default_rng([spec.seed % 2**63, 5])
    change = iou_of(student.sum(axis=0)) - iou_of(base.sum(axis=0))
    suspects = [position for position in range(num_classes) if change[position] < 0]
    if not suspects:
        return {}
    draws = paired_draws(base[:, :, suspects], student[:, :, suspects], num_draws, rng)
    chance = chance_of_loss(base[:, :, suspects], student[:, :, suspects], num_draws, rng)
    found = {}
    for column, position in enumerate(suspects):
        shown = (base[:, 1, position] > 0) | (student[:, 1, position] > 0)
        losses = draws.other[:, column] - draws.base[:, column]
        spread = interval(float(change[position]), losses, tail, int(shown.sum()), 1.0)
        if spread.high < 0 and chance[column] <= tail:
            found[position] = spread
    return found


def chance_of_loss(base: Floats, student: Floats, num_draws: int, rng: np.random.Generator) -> Floats:
    """Return, per class, how often swapping the results of images at random loses as much: (K,) in (0, 1]."""
    total_base, total_student, moved = base.sum(axis=0), student.sum(axis=0), student - base
    seen = class_change(total_base, total_student)
    as_low = np.ones(base.shape[2])  # the result itself is one of the possible draws
    for start in range(0, num_draws, DRAWS_AT_ONCE):
        swaps = rng.integers(0, 2, (min(DRAWS_AT_ONCE, num_draws - start), len(base))).astype(np.float64)
        shift = np.tensordot(swaps, moved, 1)
        as_low += (class_change(total_base + shift, total_student - shift) <= seen + 1e-12).sum(axis=0)
    return as_low / (num_draws + 1)


def class_change(base: Floats, student: Floats) -> Floats:
    """Return the change in IoU of each class, (..., K); 0 where a union is empty. base, student: (..., 2, K)."""
    known = (base[..., 1, :] > 0) & (student[..., 1, :] > 0)
    first, second = (
        np.divide(area[..., 0, :], area[..., 1, :], out=np.zeros_like(area[..., 0, :]), where=known)
        for area in (base, student)
    )
    return np.asarray(second - first)


def harm_sentence(changes: dict[str, Interval], rejected: bool) -> str:
    """Return what is said of harmed classes. changes: by class name."""
    shown = ", ".join(
        f"{name} {change.point:+.3f} ({change.low:+.3f} … {change.high:+.3f})" for name, change in changes.items()
    ).replace("-", "\N{MINUS SIGN}")
    what = "so the round counts as worse (loop.class_harm: reject)" if rejected else "whatever its mIoU says"
    return f"harm: significantly worse than its teacher at {shown}, {what}"
