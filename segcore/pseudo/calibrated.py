"""Thresholds that promise a precision: per class, the lowest tau that calib proves to reach it.

The promise, for each class by itself: if calib and pool are alike, then with 95 % certainty at least
`target_precision` of the pixels kept in the pool are right. Two things can break such a promise, and both are seen to:

- Pixels of one image are right or wrong together. The bound counts images (segcore/trust/precision.py).
- Whoever looks at 256 thresholds finds one that was lucky. So they are tested in an order that is fixed before it is
  known which pixels are right, from strict to lax, and the first that fails ends it. With every threshold tested at
  5 %, the chance of passing any that falls short is 5 % too (fixed sequence testing; for models: Angelopoulos et al.
  2021, "Learn then Test"). The order starts where the surest 30 % of the class's calib pixels end: a stricter start has
  too few pixels of too few images to prove anything, and would end the sequence at once.

Where that fails, a class is still labelled if an estimate reaches the target, marked "no promise". The estimate is a
cautious one, as if one more image were wrong as a whole, so that fewer than nine images never reach 0.9. A class on so
few images is estimated by all classes pooled, at equal confidence, as long as its own pixels do not speak against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segcore.pseudo.calib_counts import ClassCounts
from segcore.pseudo.confidence import LEVEL_EDGES, NO_LEVEL
from segcore.trust.precision import cautious_precision, precision, precision_bound

MIN_PROMISED_IMAGES = 30
START_SHARE = 0.3
MIN_OWN_IMAGES = 3  # that a class must be on to be estimated by all classes

Promise = Literal["promised", "no promise", "not labelled"]


@dataclass(frozen=True)
class CalibratedCut:
    """Threshold of one class. level: smallest level kept; 256 where the class is not labelled yet."""

    level: int
    promise: Promise

    @property
    def tau(self) -> float:
        """Return the confidence that the level begins at; 1.0 where nothing is kept."""
        return 1.0 if self.level == NO_LEVEL else float(LEVEL_EDGES[self.level])


def calibrated_cut(calib: ClassCounts, pooled: ClassCounts, target: float) -> CalibratedCut:
    """Return the threshold of a class for a precision of `target`, in (0, 1). pooled: counts of all classes."""
    level = promised_level(calib, target)
    if level != NO_LEVEL:
        return CalibratedCut(level, "promised")
    level = estimated_level(calib, pooled, target)
    return CalibratedCut(level, "not labelled" if level == NO_LEVEL else "no promise")


def promised_level(calib: ClassCounts, target: float) -> int:
    """Return the lowest level that the fixed sequence of tests reaches; 256 if already its first fails.

    The class must be on 30 calib images at the first level: fewer are hardly a sample of anything.
    """
    first = start_level(calib.count)
    if np.count_nonzero(calib.count[:, first]) < MIN_PROMISED_IMAGES:
        return NO_LEVEL
    fails = precision_bound(calib.count[:, : first + 1], calib.correct[:, : first + 1]) < target
    last_failure = int(np.flatnonzero(fails)[-1]) if fails.any() else -1
    return NO_LEVEL if last_failure == first else last_failure + 1


def start_level(count: NDArray[np.number]) -> int:
    """Return the highest level that START_SHARE of a class's pixels reach; which of them are right has no influence.

    count: (N, 256) pixels at or above each level. Pixels of one level go together.
    """
    total = count.sum(axis=0)
    return int(np.flatnonzero(total >= START_SHARE * total[0])[-1])


def estimated_level(calib: ClassCounts, pooled: ClassCounts, target: float) -> int:
    """Return the lowest level whose cautious estimate reaches the target; 256 if none does."""
    own = cautious_precision(calib.count, calib.correct) >= target
    reached = np.flatnonzero(own | reached_by_all_classes(calib, pooled, target))
    return int(reached[0]) if reached.size else NO_LEVEL


def reached_by_all_classes(calib: ClassCounts, pooled: ClassCounts, target: float) -> NDArray[np.bool_]:
    """Return at which levels all classes reach the target and the class, on too few images to tell, does too.

    Too few: the cautious estimate would miss the target even if all of them were right. Returns (256,) bool.
    """
    too_few = cautious_precision(calib.count, calib.count) < target
    shown = np.count_nonzero(calib.count, axis=0) >= MIN_OWN_IMAGES
    right = precision(calib.count, calib.correct) >= target
    return np.asarray(too_few & shown & right & (cautious_precision(pooled.count, pooled.correct) >= target))
