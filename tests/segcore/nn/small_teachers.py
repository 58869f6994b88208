"""Teachers whose networks are one small convolution, so that what they must say is known."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from segcore.nn.fast.network import FastNetwork, FastSpec
from segcore.nn.teacher import Teacher

NUM_CLASSES = 3


class SmallNetwork(nn.Module):
    """A convolution of kernel_size pixels; on_pass sees the inputs of each forward pass."""

    align_corners = False
    out_channels = NUM_CLASSES

    def __init__(self, kernel_size: int, on_pass: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.data_preprocessor: Any = SimpleNamespace(
            _channel_conversion=True,
            _enable_normalize=True,
            mean=torch.tensor([120.0, 110.0, 100.0]).view(3, 1, 1),
            std=torch.tensor([60.0, 61.0, 62.0]).view(3, 1, 1),
            pad_val=0,
            test_cfg=None,
        )
        self.convolution = nn.Conv2d(3, NUM_CLASSES, kernel_size, padding=kernel_size // 2)
        self.on_pass = on_pass
        with torch.no_grad():
            generator = torch.Generator().manual_seed(kernel_size)
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def inference(self, inputs_NCHW: Tensor, metas: object) -> Tensor:
        """Return logits at the inputs' size, as a segmentor does."""
        self.on_pass(inputs_NCHW)
        found: Tensor = self.convolution(inputs_NCHW)
        return found


def small_teacher(
    kernel_size: int = 1, weight: float = 1.0, on_pass: Callable[[Tensor], None] = lambda inputs: None
) -> Teacher:
    """Return a teacher; with kernel_size 1, what it says of a pixel depends on that pixel alone."""
    network: Any = SmallNetwork(kernel_size, on_pass)
    spec = FastSpec("cpu", "fp32", ((64, 64),), 1)
    return Teacher(FastNetwork(network, spec, "a small convolution"), weight, NUM_CLASSES, 0.5)
