"""Which images are labelled in a round: the reliable first, the rest once a better teacher has looked at them.

Reliable is an image on which label maps agree: the mean over some label maps of their mIoU with the teacher's final
one, stored with the prediction (segcore/nn/agreement.py). The maps are those of its views, or those of checkpoints
along the teacher's training, as ST++ has it (Yang et al. 2022, "ST++: Make Self-training Work Better for
Semi-supervised Semantic Segmentation", CVPR, section 3.3), which trains on the better half before the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segcore.config.label_schema import FilterConfig
from segcore.errors import DataError
from segcore.pseudo.predictions import Agreeing, read_agreements
from segcore.records import ImageRecord

REMEDY = {
    "views": "label with two views or more (label.sizes, label.flip)",
    "checkpoints": "label them again with the checkpoints of the teacher's training",
}


@dataclass(frozen=True)
class Choice:
    """Which images are wanted. share: of them, in (0, 1]; ranked_by: whose agreement tells the most reliable."""

    share: float
    ranked_by: Agreeing


def choice_of(config: FilterConfig, round_index: int) -> Choice:
    """Return which images a round labels."""
    return Choice(reliable_share(config, round_index), config.reliability)


def reliable_share(config: FilterConfig, round_index: int) -> float:
    """Return the share of images to label: it starts at reliable_share in round 1 and grows to 1."""
    return min(1.0, config.reliable_share + config.reliable_step * max(0, round_index - 1))


def reliable_images(
    images: Sequence[ImageRecord], predictions: Iterable[Path], choice: Choice
) -> tuple[ImageRecord, ...]:
    """Return the share of images that are most reliable, in their order; all where share is 1.

    Only images with a prediction count. Of two that agree equally the first by id is taken.
    """
    if choice.share >= 1.0:
        return tuple(images)
    wanted = {image.image_id for image in images}
    agreement: dict[str, float] = {}
    for path in predictions:
        for image_id, value in read_agreements(path, choice.ranked_by):
            if image_id not in wanted:
                continue
            if value is None:
                raise DataError(
                    f"{path}: {image_id} has no agreement of {choice.ranked_by}, which filter.reliable_share needs; "
                    f"{REMEDY[choice.ranked_by]}"
                )
            agreement[image_id] = value
    ordered = sorted(agreement, key=lambda image_id: (-agreement[image_id], image_id))
    chosen = frozenset(ordered[: math.ceil(choice.share * len(ordered) - 1e-6)])  # 0.6 + 0.1 is a little more than 0.7
    return tuple(image for image in images if image.image_id in chosen)
