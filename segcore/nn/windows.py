"""Views too large for one forward pass: overlapping windows, their logits blended, only as many rows as are asked for.

Whether a view is run in windows depends on its size alone, never on free memory, so that the same images give the
same labels everywhere. Blending is by raised cosines over the overlap: a pixel counts the less the nearer it lies to
a window's inner edge, where the network saw little around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

WHOLE_VIEW_PX = 2 << 20  # a view of more pixels is run in windows; 1024 x 2048 is not
WINDOW = 1024  # longer than high, or wide, a window is not
OVERLAP = 256


def needs_windows(shape: tuple[int, int]) -> bool:
    """Tell whether a view of (height, width) is run in windows."""
    return shape[0] * shape[1] > WHOLE_VIEW_PX


@dataclass
class WindowedLogits:
    """Logits of a large view, computed strip by strip when their rows are asked for from the top down.

    pixels: (1, 3, h, w) of the view, in host memory. forward: given windows (1, 3, win_h, win_w), returns for each
    (F, C, win_h, win_w) on the device, see segcore/nn/tta.py. In memory are the strips of windows that cover the rows
    asked for: up to three times F x C x WINDOW x w values, however high the view is.
    """

    pixels: Tensor
    forward: Callable[[Sequence[Tensor]], list[Tensor]]
    num_channels: int
    num_flips: int
    device: torch.device
    strips: dict[int, Tensor] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (F, C, h, w)."""
        return (self.num_flips, self.num_channels, *self.pixels.shape[2:])

    @cached_property
    def tops(self) -> list[int]:
        """Return the first row of each strip."""
        return starts(self.shape[2])

    def rows(self, start: int, stop: int) -> Tensor:
        """Return some rows: (F, C, stop - start, w) float32; strips above them are forgotten."""
        height, width = self.shape[2:]
        weights = blend_weights(self.tops, height).to(self.device)
        found = torch.zeros((*self.shape[:2], stop - start, width), device=self.device)
        for index, top in enumerate(self.tops):
            low, high = max(start, top), min(stop, top + weights.shape[1])
            if top + weights.shape[1] <= start:
                self.strips.pop(index, None)
            elif low < high:
                strip = self.strip(index)[:, :, low - top : high - top]
                found[:, :, low - start : high - start] += strip * weights[index, low - top : high - top, None]
        return found

    def strip(self, index: int) -> Tensor:
        """Return the logits of one strip of windows, blended sideways: (F, C, win_h, w) float32."""
        if index not in self.strips:
            top, width = self.tops[index], self.shape[3]
            lefts = starts(width)
            weights = blend_weights(lefts, width).to(self.device)
            windows = [self.pixels[:, :, top : top + WINDOW, left : left + WINDOW] for left in lefts]
            blended = torch.zeros((*self.shape[:2], windows[0].shape[2], width), device=self.device)
            for left, weight, logits in zip(lefts, weights, self.forward(windows), strict=True):
                blended[0, :, :, left : left + WINDOW] += logits[0] * weight
                if self.num_flips == 2:  # the mirror image's window lies on the other side
                    right = width - left
                    blended[1, :, :, right - len(weight) : right] += logits[1] * weight.flip(0)
            self.strips[index] = blended
        return self.strips[index]


def starts(length: int) -> list[int]:
    """Return where windows begin along a side: each overlaps the last by OVERLAP, the very last one by more."""
    return [*range(0, length - WINDOW, WINDOW - OVERLAP), max(length - WINDOW, 0)]


def blend_weights(begins: Sequence[int], length: int) -> Tensor:
    """Return (number of windows, window length) float32: what each window counts at each of its places.

    At every place of the side, the weights of the windows that cover it sum to 1.
    """
    window = min(WINDOW, length)
    rise = torch.sin(torch.pi / 2 * (torch.arange(OVERLAP, dtype=torch.float64) + 0.5) / OVERLAP) ** 2
    weights = torch.ones(len(begins), window, dtype=torch.float64)
    if len(begins) > 1:
        weights[1:, :OVERLAP] *= rise
        weights[:-1, -OVERLAP:] *= rise.flip(0)
    total = torch.zeros(length, dtype=torch.float64)
    for begin, weight in zip(begins, weights, strict=True):
        total[begin : begin + window] += weight
    shares = [weight / total[begin : begin + window] for begin, weight in zip(begins, weights, strict=True)]
    return torch.stack(shares).float()
