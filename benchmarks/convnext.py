"""ConvNeXt (Liu et al. 2022, https://arxiv.org/abs/2201.03545) as a backbone for mmsegmentation, to measure with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

LAYER_SCALE = 0.1  # of a short training; the paper's 1e-6 is for long ones


@MODELS.register_module()
class ConvNeXtBackbone(BaseModule):
    """Four stages at strides 4, 8, 16 and 32, each output normalised; without stochastic depth."""

    def __init__(self, depths: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        inputs = (3, *widths[:-1])
        self.reductions = nn.ModuleList(reduction(number, inputs[number], width) for number, width in enumerate(widths))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width) for _ in range(depth))) for depth, width in zip(depths, widths, strict=True)
        )
        self.norms = nn.ModuleList(ChannelNorm(width) for width in widths)

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the normalised output of each stage: (N, width, H / stride, W / stride)."""
        outputs = []
        x = image_NCHW
        for reduce, stage, norm in zip(self.reductions, self.stages, self.norms, strict=True):
            x = stage(reduce(x))
            outputs.append(norm(x))
        return tuple(outputs)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (N, C, H, W)."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the input normalised at each pixel."""
        return super().forward(x_NCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A depthwise 7 x 7 convolution and a two-layer perceptron at each pixel, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.pointwise = nn.Sequential(
            nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.scale = nn.Parameter(torch.full((width,), LAYER_SCALE))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return a tensor of the input's shape."""
        pixels_NHWC = self.pointwise(self.depthwise(x_NCHW).permute(0, 2, 3, 1))
        return x_NCHW + (self.scale * pixels_NHWC).permute(0, 3, 1, 2)


def reduction(number: int, inputs: int, width: int) -> nn.Sequential:
    """Return what comes before a stage: a quarter of the size before the first, half before the others."""
    if number == 0:
        return nn.Sequential(nn.Conv2d(inputs, width, 4, stride=4), ChannelNorm(width, eps=1e-6))
    return nn.Sequential(ChannelNorm(inputs, eps=1e-6), nn.Conv2d(inputs, width, 2, stride=2))
