"""The quality card of a round's pseudo-labels, and their audit against truth that is given afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.pseudo.filtering import PseudoLabel
from segcore.pseudo.thresholds import Thresholds
from segcore.records import IGNORE_INDEX


def ratio(part: float, whole: float) -> float | None:
    """Return part / whole; None where whole is 0."""
    return float(part) / float(whole) if whole else None


def count_pairs(rows: NDArray[np.uint8], columns: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """Count pixels by two label maps of one image: (C + 1, C + 1) int64, the last index being ignore.

    rows, columns: (H, W) uint8 class ids, 255 = ignore.
    """
    row, column = (np.where(ids == IGNORE_INDEX, num_classes, ids).astype(np.intp) for ids in (rows, columns))
    counts = np.bincount((row * (num_classes + 1) + column).ravel(), minlength=(num_classes + 1) ** 2)
    return counts.astype(np.int64).reshape(num_classes + 1, num_classes + 1)


class QualityTally:
    """Sums over the images of a round, from which its quality card is made. Tallies of disjoint images add up."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.num_images = 0
        self.num_pixels = 0
        self.kept = np.zeros(num_classes, np.int64)  # pixels by class of the pseudo-label
        self.images = np.zeros(num_classes, np.int64)  # images with a pixel of the class in the pseudo-label
        self.confidence = np.zeros(num_classes)  # sum over kept pixels
        self.changes = np.zeros((num_classes + 1, num_classes + 1), np.int64)  # [last round, this round]

    def add(self, label: PseudoLabel, previous: NDArray[np.uint8] | None = None) -> None:
        """Count one image.

        previous: (H, W) uint8, the pseudo-label of the last round.
        """
        is_kept = label.components.class_id != IGNORE_INDEX
        class_id, area_px = label.components.class_id[is_kept], label.components.area_px[is_kept]
        counts = np.bincount(class_id, area_px, self.num_classes).astype(np.int64)
        self.num_images += 1
        self.num_pixels += label.label_map.size
        self.kept += counts
        self.images += counts > 0
        self.confidence += np.bincount(class_id, label.confidence[is_kept], self.num_classes)
        if previous is not None:
            self.changes += count_pairs(previous, label.label_map, self.num_classes)

    def merge(self, other: QualityTally) -> None:
        """Count the images that another tally counted."""
        self.num_images += other.num_images
        self.num_pixels += other.num_pixels
        self.kept += other.kept
        self.images += other.images
        self.confidence += other.confidence
        self.changes += other.changes


def quality_card(
    tally: QualityTally, cut: Thresholds, predicted_px: NDArray[np.int64], truth_share: Sequence[float] | None
) -> dict[str, Any]:
    """Return the quality card as a JSON object; all shares are in [0, 1], None where there is nothing to divide by.

    predicted_px: (C,) int64 pixels of the same images by predicted class. truth_share: each class's share of the
    labelled pixels of the ground truth, to compare with.
    """
    kept = int(tally.kept.sum())
    classes = [class_card(tally, cut, class_id, predicted_px, truth_share) for class_id in range(tally.num_classes)]
    return {
        "round_index": cut.round_index,
        "policy": cut.policy,
        "num_images": tally.num_images,
        "num_pixels": tally.num_pixels,
        "coverage": ratio(kept, tally.num_pixels),
        "share_ignored": ratio(tally.num_pixels - kept, tally.num_pixels),
        "mean_confidence": ratio(tally.confidence.sum(), kept),
        "classes": classes,
        "churn": churn_of(tally.changes),
    }


def class_card(
    tally: QualityTally,
    cut: Thresholds,
    class_id: int,
    predicted_px: NDArray[np.int64],
    truth_share: Sequence[float] | None,
) -> dict[str, Any]:
    """Return the card of one class.

    coverage: kept of the pixels predicted as the class. kept_share: of all kept pixels, those of the class.
    """
    kept, predicted = int(tally.kept[class_id]), int(predicted_px[class_id])
    return {
        "name": cut.class_names[class_id],
        "tau": cut.tau[class_id],
        "predicted_pixels": predicted,
        "kept_pixels": kept,
        "num_images": int(tally.images[class_id]),
        "coverage": ratio(kept, predicted),
        "predicted_share": ratio(predicted, tally.num_pixels),
        "kept_share": ratio(kept, int(tally.kept.sum())),
        "truth_share": None if truth_share is None else truth_share[class_id],
        "mean_confidence": ratio(tally.confidence[class_id], kept),
    }


def churn_of(changes: NDArray[np.int64]) -> dict[str, Any] | None:
    """Return what changed since the last round; None if there was none to compare with.

    changes: (C + 1, C + 1) int64 pixels [last round, this round], the last index being ignore. changed: share of the
    pixels kept in both rounds whose class differs. added, dropped: shares of all compared pixels.
    """
    total = int(changes.sum())
    if total == 0:
        return None
    both = changes[:-1, :-1]
    return {
        "changed": ratio(both.sum() - both.trace(), both.sum()),
        "added": ratio(changes[-1, :-1].sum(), total),
        "dropped": ratio(changes[:-1, -1].sum(), total),
    }


@dataclass(frozen=True)
class AuditRow:
    """Pseudo-labels against truth for one class, or for all.

    kept_pixels: pseudo-labelled as the class. truth_pixels: truly of it. precision: right of kept. coverage: of the
    truth's pixels, those that carry any pseudo-label. recall: of the truth's pixels, those labelled right.
    """

    name: str
    kept_pixels: int
    truth_pixels: int
    precision: float | None
    coverage: float | None
    recall: float | None


def audit_rows(counts: NDArray[np.int64], class_names: Sequence[str]) -> tuple[AuditRow, ...]:
    """Return one row per class, then one named "all".

    counts: (C, C + 1) int64 pixels [truth, pseudo-label], the last column being ignore; pixels whose truth is ignore
    are not counted.
    """
    hits, kept, truth = np.diagonal(counts), counts[:, :-1].sum(axis=0), counts.sum(axis=1)
    labelled = counts[:, :-1].sum(axis=1)
    table = np.stack([hits, kept, truth, labelled], axis=1)
    named = zip((*class_names, "all"), [*table.tolist(), table.sum(axis=0).tolist()], strict=True)
    return tuple(
        AuditRow(name, kept_px, truth_px, ratio(hit, kept_px), ratio(any_px, truth_px), ratio(hit, truth_px))
        for name, (hit, kept_px, truth_px, any_px) in named
    )
