"""Churn: how much of the pool a teacher labels otherwise than an earlier teacher did, before any threshold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.pseudo.quality import ratio
from segcore.pseudo.stored import StoredPredictions

MIN_PIXELS = 1000  # of a class in the earlier labels; with fewer its churn says nothing


def count_changes(
    image_ids: Iterable[str], earlier: StoredPredictions, now: StoredPredictions, num_classes: int
) -> NDArray[np.int64]:
    """Count the pixels of the images that both hold: (C, C) int64 [earlier class, class now]."""
    counts = np.zeros(num_classes**2, np.int64)
    for image_id in image_ids:
        if image_id in earlier:
            before, after = earlier[image_id].label_map, now[image_id].label_map
            if before.shape == after.shape:
                pairs = before.astype(np.uint16) * np.uint16(num_classes) + after
                counts += np.bincount(pairs.ravel(), minlength=len(counts))
    return counts.reshape(num_classes, num_classes)


def churn_card(counts: NDArray[np.int64]) -> dict[str, Any]:
    """Return the share of pixels whose class changed, over all and by class; None where there is too little.

    counts: (C, C) int64 [earlier class, class now]. classes: of the pixels that were of the class, those that are of
    another one now.
    """
    before, same = counts.sum(axis=1), np.diagonal(counts)
    by_class = [
        ratio(total - kept, total) if total >= MIN_PIXELS else None
        for total, kept in zip(before.tolist(), same.tolist(), strict=True)
    ]
    total = int(counts.sum())
    return {"num_pixels": total, "changed": ratio(total - int(same.sum()), total), "classes": by_class}
