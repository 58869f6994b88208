"""From the logits of an image's views to probabilities at its own size, a band of rows at a time.

Probabilities of all classes at full size are the largest thing in labelling (200 megapixels x 20 classes: 16 GB), so
they never exist at once: a band is resized, averaged over views and teachers view by view, reduced to label and
confidence (segcore/nn/final_maps.py), and dropped. An image of common size is one band.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segcore.nn.teacher import Teacher

VALUES_PER_BAND = 16 << 20  # classes x rows x columns; 64 MB of float32, a few times that while it is computed
OPENCV_SIDE_PX = 1 << 14  # OpenCV counts pixels in 16 bits here and there


class LogitRows(Protocol):
    """Logits of a view, to be asked for from the top down. shape: (F, C, h, w), without padding.

    F is 1, or 2 for the view and its mirror image, which stays mirrored.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (F, C, h, w)."""
        ...

    @property
    def device(self) -> torch.device:
        """Return where the logits are."""
        ...

    def rows(self, start: int, stop: int) -> Tensor:
        """Return some rows: (F, C, stop - start, w) float32, unnormalised."""
        ...


@dataclass(frozen=True)
class WholeLogits:
    """Logits of a view that was run in one piece: (F, C, h, w) float32."""

    logits: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (F, C, h, w)."""
        return tuple(self.logits.shape)

    @property
    def device(self) -> torch.device:
        """Return where the logits are."""
        return self.logits.device

    def rows(self, start: int, stop: int) -> Tensor:
        """Return some rows, a view of the same memory."""
        return self.logits[:, :, start:stop]


@dataclass(frozen=True)
class View:
    """What one teacher says of one view."""

    logits: LogitRows
    teacher: Teacher


@dataclass(frozen=True)
class ViewLogits:
    """What the teachers say of one image in all views, of any sizes. size: (H, W) of the image."""

    views: Sequence[View]
    size: tuple[int, int]

    @property
    def device(self) -> torch.device:
        """Return where probabilities are computed."""
        return self.views[0].logits.device

    @cached_property
    def total_weight(self) -> float:
        """Return what the weights of all views, mirror images included, sum to."""
        return sum(view.teacher.weight * view.logits.shape[0] for view in self.views)

    def bands(self, values: int = VALUES_PER_BAND) -> Iterator[slice]:
        """Yield the rows of each band, from the top: at most `values` of the image's or of any view's in each."""
        height, width = self.size
        shapes = [view.logits.shape for view in self.views]
        classes = max(num_classes for _, num_classes, _, _ in shapes)
        widest = max(width, *(view_width * view_height / height for _, _, view_height, view_width in shapes))
        num_rows = max(1, int(values / (classes * widest)))
        for top in range(0, height, num_rows):
            yield slice(top, min(top + num_rows, height))

    def probabilities(self, rows: slice, see: Callable[[Tensor], None] | None = None) -> Tensor:
        """Return the mean over views, weighted by teacher, of a band: (C, rows, W) float32 in [0, 1].

        Mirror images are added up as they are and mirrored back once, at the end. see: is shown the (F, C, rows, W)
        probabilities of each view, which it may not keep.
        """
        total: Tensor | None = None
        for view in self.views:
            found = view.teacher.probabilities(self.resized(view, rows))
            if see is not None:
                see(found)
            weight = view.teacher.weight
            if total is None:
                total = found if weight == 1 else found.mul_(weight)
            else:
                total.add_(found, alpha=weight)
        assert total is not None
        if len(total) == 2:
            total[0] += total[1].flip(2)
        return total[0].div_(self.total_weight)

    def resized(self, view: View, rows: slice) -> Tensor:
        """Return the rows of a view resized to the image's size, bilinear, as functional.interpolate gives them.

        Returns (F, C, rows, W) float32; the view's own memory if nothing had to be done.
        """
        align_corners = bool(view.teacher.network.align_corners)
        if (rows.start, rows.stop) == (0, self.size[0]):
            logits = view.logits.rows(0, view.logits.shape[2])
        else:
            logits = mixed_rows(view.logits, self.size[0], rows, align_corners)
        shape = (rows.stop - rows.start, self.size[1])
        return stretched(logits, shape, align_corners)


def stretched(logits: Tensor, shape: tuple[int, int], align_corners: bool) -> Tensor:
    """Return (F, C, h, w) logits at another size, bilinear: (F, C, *shape); as they are if they have it already.

    On the CPU, OpenCV does the same two to three times as fast as torch; it knows no align_corners.
    """
    if logits.shape[2:] == shape:
        return logits
    if logits.device.type != "cpu" or align_corners or max(shape) > OPENCV_SIDE_PX:
        return functional.interpolate(logits, size=shape, mode="bilinear", align_corners=align_corners)
    found = torch.empty((*logits.shape[:2], *shape))
    planes = (logits.contiguous().flatten(0, 1).numpy(), found.flatten(0, 1).numpy())
    for small, large in zip(*planes, strict=True):
        cv2.resize(small, (shape[1], shape[0]), dst=large, interpolation=cv2.INTER_LINEAR)
    return found


def mixed_rows(view: LogitRows, height: int, rows: slice, align_corners: bool) -> Tensor:
    """Return some rows of a view stretched to height rows, its columns left alone.

    Row y of the result lies at (y + 0.5) h / H - 0.5 in the view, or at y (h - 1) / (H - 1) with align_corners.
    """
    num_in = view.shape[2]
    y = torch.arange(rows.start, rows.stop, dtype=torch.float64)
    place = y * (num_in - 1) / max(height - 1, 1)
    if not align_corners:
        place = ((y + 0.5) * num_in / height - 0.5).clamp(min=0)
    above = place.floor().long().clamp(max=num_in - 1)
    below = (above + 1).clamp(max=num_in - 1)
    first = int(above[0])
    found = view.rows(first, int(below[-1]) + 1)
    above, below = (above - first).to(found.device), (below - first).to(found.device)
    share = (place - place.floor()).to(found)[:, None]
    return torch.lerp(found[:, :, above], found[:, :, below], share)


class AreaAverage:
    """Probabilities averaged over the area that each pixel of a smaller map covers, collected band by band.

    Pixels that straddle two areas count in both by their shares, so any two sizes work; class ids are never mixed.
    """

    def __init__(self, size: tuple[int, int], small_size: tuple[int, int]) -> None:
        self.num_rows = (size[0], small_size[0])
        self.num_columns = (size[1], small_size[1])
        self.total: Tensor | None = None

    def add(self, band_CHW: Tensor, rows: slice) -> None:
        """Add the probabilities of some rows: (C, rows, W) float32."""
        num_in, num_out = self.num_rows
        first, last = rows.start * num_out // num_in, -(-rows.stop * num_out // num_in)
        weights = area_weights(num_in, num_out, band_CHW.device)[first:last, rows]
        columns = area_weights(*self.num_columns, band_CHW.device)
        part = weights @ band_CHW @ columns.T
        if self.total is None:
            self.total = part.new_zeros((len(part), num_out, len(columns)))
        self.total[:, first:last] += part

    def probabilities(self) -> Tensor:
        """Return the averages: (C, h, w) float32. All bands must have been added."""
        assert self.total is not None
        return self.total


@lru_cache(maxsize=16)
def area_weights(num_in: int, num_out: int, device: torch.device) -> Tensor:
    """Return (num_out, num_in) float32: the share of each output cell that each input cell covers; rows sum to 1."""
    edges_out = np.arange(num_out + 1) * num_in / num_out
    low = np.maximum(edges_out[:-1, None], np.arange(num_in)[None])
    high = np.minimum(edges_out[1:, None], np.arange(1, num_in + 1)[None])
    return torch.from_numpy((np.maximum(high - low, 0) * num_out / num_in).astype(np.float32)).to(device)
