"""Probabilities on a grid of an image's pixels, collected band by band (segcore/pseudo/votes.py)."""

from __future__ import annotations

import torch
from torch import Tensor

from segcore.nn.teacher import EVEN


class VoteGrid:
    """Takes the bands of an image from the top; which pixels are kept does not depend on the bands.

    threshold: of segcore.nn.teacher.joint_threshold(); the probabilities of two classes are moved so that it is 0.5.
    """

    def __init__(self, step_px: int, threshold: float) -> None:
        self.step_px = step_px
        self.threshold = threshold
        self.kept: list[Tensor] = []

    def take(self, probabilities_CHW: Tensor, top: int) -> None:
        """Keep the grid points of the band that begins with row `top`: (C, rows, W) float32."""
        sparse_CHW = probabilities_CHW[:, -top % self.step_px :: self.step_px, :: self.step_px]
        if self.threshold != EVEN:
            positive_HW = sparse_CHW[1] + (EVEN - self.threshold)
            sparse_CHW = torch.stack([1 - positive_HW, positive_HW])
        self.kept.append(sparse_CHW.half())

    def values(self) -> Tensor:
        """Return (C, h, w) float16, on the device."""
        return torch.cat(self.kept, dim=1)
