"""Which images are labelled in a round: the reliable first, the rest once a better teacher has looked at them.

Reliable is an image whose views agree: the mean IoU of what the teacher says of each view with what it says of all,
stored with the prediction (segcore/nn/agreement.py). ST++ (Yang et al. 2022, "ST++: Make Self-training Work Better for
Semi-supervised Semantic Segmentation", CVPR) ranks images by the same measure between checkpoints along a training,
and trains on the better half before the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from segcore.config.label_schema import FilterConfig
from segcore.errors import DataError
from segcore.pseudo.predictions import read_agreements
from segcore.records import ImageRecord


def reliable_share(config: FilterConfig, round_index: int) -> float:
    """Return the share of images to label: it starts at reliable_share in round 1 and grows to 1."""
    return min(1.0, config.reliable_share + config.reliable_step * max(0, round_index - 1))


def reliable_images(
    images: Sequence[ImageRecord], predictions: Iterable[Path], share: float
) -> tuple[ImageRecord, ...]:
    """Return the share of images whose views agree most, in their order; all where share is 1.

    Only images with a prediction count. Of two that agree equally the first by id is taken.
    """
    if share >= 1.0:
        return tuple(images)
    wanted = {image.image_id for image in images}
    agreement: dict[str, float] = {}
    for path in predictions:
        for image_id, value in read_agreements(path):
            if image_id not in wanted:
                continue
            if value is None:
                raise DataError(
                    f"{path}: {image_id} has no agreement of views, which filter.reliable_share needs; "
                    "label with two views or more (label.sizes, label.flip)"
                )
            agreement[image_id] = value
    ordered = sorted(agreement, key=lambda image_id: (-agreement[image_id], image_id))
    chosen = frozenset(ordered[: math.ceil(share * len(ordered) - 1e-6)])  # 0.6 + 0.1 is a little more than 0.7
    return tuple(image for image in images if image.image_id in chosen)
