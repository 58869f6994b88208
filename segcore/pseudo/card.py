"""The quality card of a round: all that is known of its pseudo-labels before a student learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.pseudo.churn import churn_card, count_changes
from segcore.pseudo.confidence import LEVEL_EDGES, NUM_LEVELS
from segcore.pseudo.expected import calibration_error, expected_classes, image_levels
from segcore.pseudo.histograms import CalibHistogram
from segcore.pseudo.predictions import read_histograms
from segcore.pseudo.quality import ratio
from segcore.pseudo.shift import shift_card
from segcore.pseudo.stored import StoredPredictions, sampled_ids
from segcore.pseudo.thresholds import Thresholds

MAX_SAMPLED = 1000  # pool images that churn and shift are measured on


@dataclass(frozen=True)
class CardSpec:
    """What a card is made of.

    quality: the filter's own card (segcore/pseudo/quality.py). pool: ids of the pool's images. predictions: the
    teacher's files; last, first: those of the last round's teacher and of the first one's, None where there are none.
    """

    quality: dict[str, Any]
    thresholds: Thresholds
    calib: CalibHistogram
    pool: frozenset[str]
    predictions: tuple[Path, ...]
    last: tuple[Path, ...] | None
    first: tuple[Path, ...] | None
    seed: int


@dataclass(frozen=True, eq=False)
class PoolLevels:
    """Pixels of the pool by confidence. classes: (C, 256) int64, of all images; images: (M, 256), of the sample."""

    classes: NDArray[np.int64]
    images: NDArray[np.float64]


def full_card(spec: CardSpec) -> dict[str, Any]:
    """Return the card as a JSON object, without alarms; shares in [0, 1], None where there is nothing to divide by.

    gap: mean confidence minus accuracy on calib. pool_confidence: mean over all predicted pixels of the pool.
    kept_churn: of pseudo-labels; churn: of predictions, before any threshold.
    """
    names, levels = spec.thresholds.class_names, spec.thresholds.level
    sample = sampled_ids(spec.predictions, spec.pool, MAX_SAMPLED)
    pool = pool_levels(spec.predictions, spec.pool, frozenset(sample), len(names))
    churn = {since: churn_since(spec, files, sample) for since, files in (("last", spec.last), ("first", spec.first))}
    expected = expected_classes(spec.calib, levels)
    rows = [
        quality | expected[index] | class_of_pool(pool.classes[index], churn, index)
        for index, quality in enumerate(spec.quality["classes"])
    ]
    head = {name: spec.quality[name] for name in ("round_index", "policy", "num_images", "coverage", "share_ignored")}
    return {
        **head,
        **whole_calib(spec.calib, len(names)),
        "pool_confidence": mean_confidence(pool.classes.sum(axis=0)),
        "num_sampled": len(sample),
        "kept_churn": spec.quality["churn"],
        "churn": {since: found and {"changed": found["changed"]} for since, found in churn.items()},
        "shift": shift_card(image_levels(spec.calib), pool.images, spec.seed),
        "classes": rows,
    }


def churn_since(spec: CardSpec, files: tuple[Path, ...] | None, sample: Sequence[str]) -> dict[str, Any] | None:
    """Return the churn against an earlier labelling."""
    if files is None:
        return None
    now, earlier = StoredPredictions(spec.predictions), StoredPredictions(files)
    return churn_card(count_changes(sample, earlier, now, len(spec.thresholds.class_names)))


def class_of_pool(levels: NDArray[np.int64], churn: dict[str, dict[str, Any] | None], index: int) -> dict[str, Any]:
    """Return what the pool alone tells of one class. levels: (256,) pixels predicted as the class."""
    changed = {f"churn_{since}": found and found["classes"][index] for since, found in churn.items()}
    return {"pool_confidence": mean_confidence(levels), **changed}


def whole_calib(calib: CalibHistogram, num_classes: int) -> dict[str, Any]:
    """Return accuracy and calibration over all classes on calib."""
    pooled = calib.pooled(num_classes).sum(axis=0)
    total, right = int(pooled[:, 0].sum()), int(pooled[:, 1].sum())
    confidence = mean_confidence(pooled[:, 0])
    return {
        "accuracy": ratio(right, total),
        "gap": None if confidence is None else confidence - right / total,
        "ece": calibration_error(calib, num_classes),
        "num_calib": len(calib.image_ids),
    }


def mean_confidence(levels: NDArray[np.int64]) -> float | None:
    """Return the mean confidence of pixels by level, (256,); None without any."""
    return ratio(float(levels @ LEVEL_EDGES), int(levels.sum()))


def pool_levels(
    predictions: Sequence[Path], pool: frozenset[str], sample: frozenset[str], num_classes: int
) -> PoolLevels:
    """Count the pixels of the pool by predicted class and confidence, and those of each sampled image by confidence."""
    total, images = np.zeros((num_classes, NUM_LEVELS), np.int64), []
    for path in predictions:
        for image_id, counts in (row for group in read_histograms(path) for row in group):
            if image_id in pool:
                total[: len(counts)] += counts
            if image_id in sample:
                images.append(counts.sum(axis=0, dtype=np.float64))
    return PoolLevels(total, np.array(images).reshape(-1, NUM_LEVELS))
