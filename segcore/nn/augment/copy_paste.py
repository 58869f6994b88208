"""Copy-paste: objects of rare classes put into labelled images (Ghiasi et al. 2021, https://arxiv.org/abs/2012.07177).

What an object covers gets its label; its edge is blended over a few pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.config.train_schema import AugmentConfig
from segcore.nn.augment.example import Box, Example, LabelMap
from segcore.nn.augment.geometry import flipped, resized
from segcore.nn.augment.object_bank import ObjectBank
from segcore.records import IGNORE_INDEX

MAX_PASTED = 3  # objects put into one sample
HIDDEN_SHARE = 0.5  # more of a rarer object is not covered
EDGE_SIGMA_PX = 1.0


@dataclass(frozen=True)
class CopyPaste:
    """Pastes objects of a bank at the scales, and mirrored as often, as images are."""

    bank: ObjectBank
    config: AugmentConfig

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """Return an example with one to three objects more, fewer where they would hide rarer ones."""
        example = example.mapped(np.copy)
        for _ in range(rng.integers(1, MAX_PASTED + 1)):
            class_id, item = self.bank.drawn(rng)
            item = resized(item, max(item.height, item.width) * rng.uniform(*self.config.scale_range))
            item = flipped(item) if rng.random() < self.config.flip else item
            top = int(rng.integers(-(item.height // 2), example.height - item.height // 2))
            left = int(rng.integers(-(item.width // 2), example.width - item.width // 2))
            paste(item, example, (top, left), self.bank.rarer_than(class_id))
        return example


def paste(item: Example, example: Example, corner: tuple[int, int], rarer: tuple[int, ...]) -> None:
    """Put an object into an example, in place, unless it would hide most of an object of a rarer class.

    corner: (top, left) px of the object in the example, where only a part of it may lie.
    """
    box, part = overlap(item, example, corner)
    covered = item.label_map[part] != IGNORE_INDEX
    if hides_any(example.label_map, box, covered, rarer):
        return
    solid = (item.label_map != IGNORE_INDEX).astype(np.float32)
    edge = np.asarray(cv2.GaussianBlur(solid, (0, 0), EDGE_SIGMA_PX), np.float32)[part]
    blended = cv2.blendLinear(
        np.ascontiguousarray(item.image[part]), np.ascontiguousarray(example.image[box]), edge, 1 - edge
    )
    example.image[box] = blended
    example.label_map[box][covered] = item.label_map[part][covered]
    if example.pixel_weight is not None:
        example.pixel_weight[box][covered] = 255


def overlap(item: Example, example: Example, corner: tuple[int, int]) -> tuple[Box, Box]:
    """Return where an object at a corner lies in an example, and which part of the object that is."""
    box, part = [], []
    for start, length, limit in zip(corner, item.label_map.shape, example.label_map.shape, strict=True):
        first, last = max(start, 0), min(start + length, limit)
        box.append(slice(first, last))
        part.append(slice(first - start, last - start))
    return (box[0], box[1]), (part[0], part[1])


def hides_any(label_map: LabelMap, box: Box, covered: NDArray[np.bool_], rarer: tuple[int, ...]) -> bool:
    """Tell whether most of any connected object of the rarer classes would be covered.

    label_map: (H, W). covered: (h, w) bool, the covered pixels of the box.
    """
    under = np.unique(label_map[box][covered])
    for class_id in set(rarer).intersection(under.tolist()):
        num, components = cv2.connectedComponents((label_map == class_id).astype(np.uint8))
        sizes = np.bincount(components.ravel(), minlength=num)[1:]
        hidden = np.bincount(components[box][covered], minlength=num)[1:]
        if (hidden > HIDDEN_SHARE * sizes).any():
            return True
    return False
