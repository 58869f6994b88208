"""Weights that come with the samples of a batch, kept where the heads' samplers and losses find them.

A sample may carry `loss_weight` (a number, in its metainfo) and `pixel_weight` (PixelData, (1, h, w) uint8, 255 is
full weight). A pixel counts with the product. What carries neither counts fully.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from numpy.typing import NDArray
from torch import Tensor, nn

FULL_WEIGHT = 255


def weigh(sample: SegDataSample, loss_weight: float, pixel_weight: NDArray[np.uint8] | None) -> None:
    """Note in a sample how much it counts. pixel_weight: (h, w), 255 is full weight; None: all alike."""
    if loss_weight != 1.0:
        sample.set_metainfo({"loss_weight": loss_weight})
    if pixel_weight is not None:
        sample.pixel_weight = PixelData(data=torch.from_numpy(pixel_weight.copy())[None])


class BatchWeights:
    """The weights of the batch in work; a forward pre-hook of the network, so that they are always those of the batch.

    pixels: (N, H, W) float32; None where every pixel counts fully. images: (N,) float32, the mean over the labelled
    pixels of each image; None likewise.
    """

    def __init__(self) -> None:
        self.pixels: Tensor | None = None
        self.images: Tensor | None = None

    def __call__(self, _: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        """Note the weights of the batch that the network is called with, as torch calls its hooks."""
        call = dict(zip(("inputs", "data_samples", "mode"), arguments, strict=False)) | keywords
        if call.get("mode") == "loss":
            self.note(call["data_samples"])

    def note(self, samples: Sequence[SegDataSample]) -> None:
        """Note the weights of a batch whose label maps are padded to one size, at the bottom and right."""
        if not any("loss_weight" in sample or "pixel_weight" in sample for sample in samples):
            self.pixels = self.images = None
            return
        self.pixels = torch.stack([pixel_weights(sample) for sample in samples])
        labelled = torch.stack([sample.gt_sem_seg.data[0] for sample in samples]) != 255
        self.images = (self.pixels * labelled).sum((1, 2)) / labelled.sum((1, 2)).clamp(min=1)


def pixel_weights(sample: SegDataSample) -> Tensor:
    """Return the weights of a sample's pixels, (H, W) float32, of the size of its label map."""
    weights = torch.ones(sample.gt_sem_seg.shape, dtype=torch.float32, device=sample.gt_sem_seg.data.device)
    if "pixel_weight" in sample:
        height, width = sample.pixel_weight.shape
        weights[:height, :width] = sample.pixel_weight.data[0].float() / FULL_WEIGHT
    return weights * float(sample.get("loss_weight", 1.0))
