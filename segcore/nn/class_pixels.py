"""How many pixels each labelled image has of each class: what rare-class sampling and class weights go by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segcore.data.classes import require_known
from segcore.data.label_maps import LabelMaps
from segcore.process.jobs import TrainJob


def labelled_pixels(job: TrainJob) -> NDArray[np.int64]:
    """Return the pixels of each class in each image with ground truth: (images in the order of their ids, C) int64."""
    image_ids = tuple(sorted(sample.image_id for sample in job.ground_truth))
    return count_pixels(Path(job.ground_truth_maps), image_ids, len(job.model.class_names))


@lru_cache(maxsize=2)
def count_pixels(maps: Path, image_ids: tuple[str, ...], num_classes: int) -> NDArray[np.int64]:
    """Return the pixels by image and class, (len(image_ids), num_classes) int64; counted once in a process."""
    counts = np.zeros((len(image_ids), num_classes), np.int64)
    with closing(LabelMaps(maps)) as label_maps:
        for row, image_id in zip(counts, image_ids, strict=True):
            row[:] = np.bincount(label_maps[image_id].ravel(), minlength=256)[:num_classes]
    counts.setflags(write=False)
    return counts


def class_shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each class's share of the labelled pixels: (C,) float64 that sums to 1, or zeros without any pixel."""
    pixels = counts.sum(axis=0)
    return np.asarray(pixels / max(int(pixels.sum()), 1), np.float64)


def inverse_sqrt_weights(shares: NDArray[np.float64]) -> tuple[float, ...]:
    """Return a loss weight for each class in proportion to 1 / sqrt(its share), so that the mean pixel weighs 1.

    A class without a labelled pixel gets the weight of the rarest one that has some.
    """
    present = shares > 0
    if not present.any():
        return (1.0,) * len(shares)
    raw = 1.0 / np.sqrt(np.where(present, shares, shares[present].min()))
    return tuple((raw / (raw * shares).sum()).tolist())


def weights_by_name(weights: Mapping[str, float], class_names: Sequence[str]) -> tuple[float, ...]:
    """Return the loss weight of each class, 1 for those that are not named; ConfigError for an unknown name."""
    require_known("train.loss.class_weights", weights, class_names)
    return tuple(weights.get(name, 1.0) for name in class_names)
