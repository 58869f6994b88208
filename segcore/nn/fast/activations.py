"""ReLU and ReLU6 done while a convolution's output is still in the caches, instead of in a pass of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

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

    A convolution may have a padding layer of its own, static_padding, as EfficientNet's do.
    """

    def __init__(self, convolution: nn.Conv2d, bounds: tuple[float, float]) -> None:
        super().__init__()
        if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
            raise ValueError(f"padding must be zeros, by number, got {convolution.padding_mode} {convolution.padding}")
        self.convolution = with_inner_padding(convolution)
        self.bounds = bounds

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return the clamped convolution. x_NCHW: (N, C_in, H, W) float32."""
        its = self.convolution
        y_NCHW: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x_NCHW,
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


def with_inner_padding(convolution: nn.Conv2d) -> nn.Conv2d:
    """Return a convolution that pads by itself what its static_padding pads, as much on all sides.

    Where a side asks for less, the kernel gets zeros there: the same products, and no copy of the input, which on
    EfficientNet's largest maps takes longer than the convolution.
    """
    layer = getattr(convolution, "static_padding", None)
    if layer is None or isinstance(layer, nn.Identity):
        return convolution
    if not isinstance(layer, nn.ZeroPad2d) or convolution.dilation != (1, 1) or convolution.padding != (0, 0):
        raise ValueError(f"padding before a convolution must be zeros around a dense kernel, got {layer}")
    left, right, top, bottom = layer.padding
    down, across = max(top, bottom), max(left, right)
    zeros = (across - left, across - right, down - top, down - bottom)
    changed = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        kernel_size=1,
        stride=convolution.stride,  # type: ignore[arg-type]
        padding=(down, across),
        groups=convolution.groups,
    )
    changed.weight = nn.Parameter(functional.pad(convolution.weight.detach(), zeros), requires_grad=False)
    changed.bias = convolution.bias
    return changed.eval()
