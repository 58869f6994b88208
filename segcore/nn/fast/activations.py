"""ReLU and ReLU6 done while a convolution's output is still in the caches, instead of in a pass of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from segcore.nn.fast.adjacency import observe, replace
from segcore.nn.fast.upsampled_convolution import UpsampledConvolution
from segcore.nn.fast.winograd import WinogradConv2d

BOUNDS: dict[type[nn.Module], tuple[float, float]] = {nn.ReLU: (0.0, float("inf")), nn.ReLU6: (0.0, 6.0)}


def absorb_activations(network: nn.Module, run: Callable[[], Any]) -> int:
    """Let convolutions do the ReLUs that follow them directly, in place, and return how many. run: a forward pass."""
    wiring = observe(network, run, (nn.Conv2d, WinogradConv2d, UpsampledConvolution))
    activations = [module for module in wiring.calls if type(module) in BOUNDS and wiring.sources(module)]
    for activation in activations:
        for convolution in wiring.sources(activation):
            absorb(network, convolution, BOUNDS[type(activation)])
        replace(network, activation, nn.Identity())
    return len(activations)


def absorb(network: nn.Module, convolution: nn.Module, bounds: tuple[float, float]) -> None:
    """Let a convolution of a network clamp its output."""
    if isinstance(convolution, (WinogradConv2d, UpsampledConvolution)):
        convolution.bounds = bounds
    elif isinstance(convolution, nn.Conv2d):
        replace(network, convolution, ClampedConv2d(convolution, bounds))


class ClampedConv2d(nn.Module):
    """A convolution with zero padding and the clamping after it, in one call of oneDNN, on CPU.

    A layer that the convolution keeps as static_padding, as EfficientNet's do, comes before it.
    """

    def __init__(self, convolution: nn.Conv2d, bounds: tuple[float, float]) -> None:
        super().__init__()
        if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
            raise ValueError(f"padding must be zeros, by number, got {convolution.padding_mode} {convolution.padding}")
        self.convolution = convolution
        self.pad = getattr(convolution, "static_padding", nn.Identity())
        self.bounds = bounds

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the clamped convolution. x_NCHW: (N, C_in, H, W) float32."""
        its = self.convolution
        y_NCHW: Tensor = torch.ops.mkldnn._convolution_pointwise(
            self.pad(x_NCHW),
            its.weight,
            its.bias,
            its.padding,
            its.stride,
            its.dilation,
            its.groups,
            "hardtanh",
            self.bounds,
            "",
        )
        return y_NCHW
