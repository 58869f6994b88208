"""Batch normalisation folded into the convolution before it.

In evaluation a batch norm is g (y - m) / sqrt(v + eps) + b with fixed m, v: a factor and an offset per channel. So
norm(conv(x; W, c)) = conv(x; f W, f (c - m) + b) with f = g / sqrt(v + eps).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from segcore.nn.fast.adjacency import observe, replace


def fold_batch_norms(network: nn.Module, run: Callable[[], Any]) -> int:
    """Fold every batch norm that follows a convolution directly, in place, and return how many. run: a forward pass."""
    wiring = observe(network, run, (nn.Conv2d,))
    norms = [module for module in wiring.calls if isinstance(module, _BatchNorm) and uses_fixed_statistics(module)]
    once = [norm for norm in norms if len(wiring.sources(norm)) == 1]
    for norm in once:
        (convolution,) = wiring.sources(norm)
        fold(convolution, norm)
        replace(network, norm, nn.Identity())
    return len(once)


def uses_fixed_statistics(norm: _BatchNorm) -> bool:
    """Return whether a batch norm is in evaluation and has statistics of its own."""
    return not norm.training and norm.running_mean is not None


def fold(convolution: nn.Module, norm: _BatchNorm) -> None:
    """Make a convolution give what the batch norm made of its output, in place."""
    assert isinstance(convolution, nn.Conv2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
