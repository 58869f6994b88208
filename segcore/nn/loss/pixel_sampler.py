"""What a pixel counts in a head's cross-entropy: the batch's weights, and whether it is hard."""

from __future__ import annotations

import math
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.structures.sampler import BasePixelSampler, OHEMPixelSampler
from torch import Tensor

from segcore.nn.loss.batch_weights import BatchWeights

OHEM_MIN_SHARE = 1 / 16  # of the crop's pixels count however easy they are, as in BiSeNet's training


class WeightedPixels(BasePixelSampler):
    """The batch's pixel weights, those of pixels that an online hard example mining passes over set to 0."""

    def __init__(self, weights: BatchWeights, mining: BasePixelSampler | None) -> None:
        super().__init__()
        self.weights = weights
        self.mining = mining

    def sample(self, seg_logit: Tensor, seg_label: Tensor) -> Tensor | None:
        """Return the weight of each pixel, (N, H, W) float; None where all count fully.

        seg_logit: (N, C, H, W). seg_label: (N, 1, H, W), 255 ignored.
        """
        pixels = self.weights.pixels
        if self.mining is None:
            return pixels
        kept: Tensor = self.mining.sample(seg_logit, seg_label)
        return kept if pixels is None else kept * pixels


def hard_pixels(head: BaseDecodeHead, threshold: float, size: int) -> Any:
    """Return mmseg's sampler of pixels whose true class has less probability than threshold. size: of crops, px."""
    return OHEMPixelSampler(head, thresh=threshold, min_kept=math.ceil(size * size * OHEM_MIN_SHARE))
