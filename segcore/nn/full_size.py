"""From the logits of an image's views to probabilities at its own size, a band of rows at a time.

Probabilities of all classes at full size are the largest thing in labelling (200 megapixels x 20 classes: 16 GB), so
they never exist at once: a band is resized, averaged over views, reduced to label and confidence, and dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

VALUES_PER_BAND = 16 << 20  # classes x rows x columns; 64 MB of float32, a few times that while it is computed


@dataclass(frozen=True)
class ViewLogits:
    """What a network says of one image.

    views: (1, C, h, w) float32 each, unnormalised, mirrored back and without padding, of any sizes.
    size: (H, W) of the image. align_corners: how the network's own resizing counts.
    """

    views: Sequence[Tensor]
    size: tuple[int, int]
    align_corners: bool

    def bands(self, values: int = VALUES_PER_BAND) -> Iterator[slice]:
        """Yield the rows of each band, from the top; a small image is one band."""
        height, width = self.size
        num_rows = max(1, values // (self.views[0].shape[1] * width))
        for top in range(0, height, num_rows):
            yield slice(top, min(top + num_rows, height))

    def probabilities(self, rows: slice) -> Tensor:
        """Return the softmax of a band averaged over views: (C, rows, W) float32 in [0, 1]."""
        total = self.resized(self.views[0], rows)[0].softmax(dim=0)
        for view in self.views[1:]:
            total += self.resized(view, rows)[0].softmax(dim=0)
        return total / len(self.views)

    def resized(self, view: Tensor, rows: slice) -> Tensor:
        """Return the rows of a view resized to the image's size, bilinear, as functional.interpolate gives them."""
        if (rows.start, rows.stop) != (0, self.size[0]):
            view = mixed_rows(view, self.size[0], rows, self.align_corners)
        shape = (rows.stop - rows.start, self.size[1])
        return functional.interpolate(view, size=shape, mode="bilinear", align_corners=self.align_corners)


def mixed_rows(view: Tensor, height: int, rows: slice, align_corners: bool) -> Tensor:
    """Return some rows of a view stretched to height rows, its columns left alone.

    Row y of the result lies at (y + 0.5) h / H - 0.5 in the view, or at y (h - 1) / (H - 1) with align_corners.
    """
    num_in = view.shape[2]
    y = torch.arange(rows.start, rows.stop, device=view.device, dtype=torch.float64)
    place = y * (num_in - 1) / max(height - 1, 1)
    if not align_corners:
        place = ((y + 0.5) * num_in / height - 0.5).clamp(min=0)
    above = place.floor().long().clamp(max=num_in - 1)
    below = (above + 1).clamp(max=num_in - 1)
    share = (place - above).to(view.dtype)[:, None]
    return view[:, :, above] * (1 - share) + view[:, :, below] * share


class AreaAverage:
    """Probabilities averaged over the area that each pixel of a smaller map covers, collected band by band.

    Pixels that straddle two areas count in both by their shares, so any two sizes work; class ids are never mixed.
    """

    def __init__(self, size: tuple[int, int], small_size: tuple[int, int]) -> None:
        self.rows = area_weights(size[0], small_size[0])
        self.columns = area_weights(size[1], small_size[1])
        self.total: Tensor | None = None

    def add(self, band_CHW: Tensor, rows: slice) -> None:
        """Add the probabilities of some rows: (C, rows, W) float32."""
        weights = self.rows[:, rows].to(band_CHW)
        touched = weights.any(dim=1)
        part = weights[touched] @ band_CHW @ self.columns.to(band_CHW).T
        if self.total is None:
            self.total = part.new_zeros((part.shape[0], self.rows.shape[0], self.columns.shape[0]))
        self.total[:, touched] += part

    def label_map(self) -> Tensor:
        """Return the class of the highest average: (h, w) int64. All bands must have been added."""
        assert self.total is not None
        return self.total.argmax(dim=0)


def area_weights(num_in: int, num_out: int) -> Tensor:
    """Return (num_out, num_in) float32: the share of each output cell that each input cell covers; rows sum to 1."""
    edges_out = np.arange(num_out + 1) * num_in / num_out
    low = np.maximum(edges_out[:-1, None], np.arange(num_in)[None])
    high = np.minimum(edges_out[1:, None], np.arange(1, num_in + 1)[None])
    return torch.from_numpy((np.maximum(high - low, 0) * num_out / num_in).astype(np.float32))
