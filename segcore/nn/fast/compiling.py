"""The backbone compiled, on CUDA, for a process that sees many images.

On CPU it is not done: there oneDNN fuses what compiling would, at once and for every shape, while compiling
MobileNetV2 took 54 s for one shape and 88 to 121 s with shapes left open. On CUDA neither time nor gain is measured
yet; the bound on images supposes a minute and 10 ms an image.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from mmseg.models import BaseSegmentor
from torch import Tensor

log = logging.getLogger(__name__)

MIN_IMAGES = 6000
TOLERANCE = 0.05  # of the largest logit: bf16 rounds to 3 digits, layer after layer


def worth_compiling(device: str, expected_images: int) -> bool:
    """Return whether a process that sees so many images on a device gains by compiling."""
    return device == "cuda" and expected_images >= MIN_IMAGES


def compile_backbone(
    network: BaseSegmentor, run: Callable[[Tensor], Tensor], shapes: tuple[tuple[int, int], ...]
) -> str:
    """Compile a network's backbone with shapes left open, in place; return what was done, "" if it stays as it was.

    run: the network's forward pass on (1, 3, h, w) float32 inputs, as it will be used. shapes: (h, w) on which the
    compiled backbone must run and give what the other gave.
    """
    eager = network.backbone
    device = next(network.parameters()).device
    inputs = [torch.randn(1, 3, height, width, device=device) for height, width in shapes]
    expected = [run(of_shape) for of_shape in inputs]
    network.backbone = torch.compile(eager, dynamic=True)
    try:
        found = [run(of_shape) for of_shape in inputs]
    except Exception as error:  # no compiler, an operation it does not know: anything can go wrong
        log.info("network: backbone not compiled: %s: %s", type(error).__name__, str(error).partition("\n")[0])
        network.backbone = eager
        return ""
    if not all(agree(*pair, TOLERANCE) for pair in zip(expected, found, strict=True)):
        log.info("network: backbone not compiled: its result would change")
        network.backbone = eager
        return ""
    return "backbone compiled"


def agree(expected: Tensor, found: Tensor, tolerance: float) -> bool:
    """Return whether two outputs are equal but for rounding. tolerance: of the largest value; NaN agrees with none."""
    return bool((expected - found).abs().max() <= tolerance * expected.abs().max())
