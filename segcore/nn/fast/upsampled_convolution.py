"""A convolution of upsampled maps, computed where the maps are small.

Decoders upsample coarse maps to the finest one's size, concatenate and convolve. Convolution and upsampling are linear:
with kernel taps W_t at offsets t, conv(up(x)) = sum_t shift_t(up(W_t x)), and W_t x costs the products of the coarse
map only. Bilinear upsampling is separable, so shift and upsampling together are one small matrix for each direction,
    z_dy[h, X] = sum_w,dx A[X, (w, dx)] (W_dy,dx x)[h, w],    y[Y, X] = sum_dy,h B[Y, (dy, h)] z_dy[h, X],
with zeros where a tap falls on the padding around the upsampled map. This is exact, for any sizes and either way of
aligning corners. Of UPerNet's last convolution two thirds of the products fall away, of PSPNet's more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

BAND_ROWS = 32  # of an upsampling matrix that are multiplied together: it is nine tenths zeros


class UpsampledConvolution(nn.Module):
    """Stands for convolution(concat(maps[0], up(maps[1]), up(maps[2]), …)).

    convolution: one that `suits` accepts. channels: of each map. own: its part that sees maps[0], with the bias.
    """

    def __init__(self, convolution: nn.Conv2d, channels: Sequence[int], align_corners: bool) -> None:
        super().__init__()
        own, *coarse = convolution.weight.detach().split(list(channels), dim=1)
        self.own: nn.Module = with_weight(convolution, own)
        self.taps = nn.ParameterList(nn.Parameter(by_row(weight), requires_grad=False) for weight in coarse)
        self.channels = convolution.out_channels
        self.kernel = convolution.kernel_size[0]
        self.align_corners = align_corners
        self.bounds = (float("-inf"), float("inf"))  # outputs are clamped to

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the convolution at the size of maps[0], clamped. maps: each (N, C_i, h_i, w_i)."""
        y_NHWC = self.own(maps[0]).permute(0, 2, 3, 1).contiguous()
        for image, y_HWC in enumerate(y_NHWC):  # one by one: the widened maps are large
            for x_NCHW, taps in zip(maps[1:], self.taps, strict=True):
                self.add(y_HWC, x_NCHW[image].permute(1, 2, 0).contiguous(), taps)
        return y_NHWC.clamp_(*self.bounds).permute(0, 3, 1, 2)

    def add(self, y_HWC: Tensor, x_HWC: Tensor, taps: Tensor) -> None:
        """Add a coarse map's share to an output, in place."""
        height, width, _ = y_HWC.shape
        wide = self.widened(x_HWC, taps, width).flatten(0, 1).flatten(1)
        for band in upsampling_bands(height, len(x_HWC), self.kernel, self.align_corners):
            y_HWC[band.rows].flatten(1).addmm_(band.matrix, wide[band.columns])

    def widened(self, x_HWC: Tensor, taps: Tensor, width: int) -> Tensor:
        """Return z of a coarse map: (h, kernel, width, C_out), the second of the rows of taps."""
        height, coarse_width, _ = x_HWC.shape
        bands = upsampling_bands(width, coarse_width, self.kernel, self.align_corners)
        wide = x_HWC.new_empty(height, self.kernel, width, self.channels)
        for row, tap in enumerate(taps):
            products = functional.linear(x_HWC, tap).view(height, coarse_width * self.kernel, self.channels)
            for band in bands:
                matrix = band.matrix.expand(height, -1, -1)
                torch.bmm(matrix, products[:, band.columns], out=wide[:, row, band.rows])
        return wide


@dataclass(frozen=True)
class Band:
    """Some rows of a matrix and the columns in which they are not all zero."""

    rows: slice
    columns: slice
    matrix: Tensor


@lru_cache(maxsize=512)
def upsampling_bands(size: int, coarse_size: int, kernel: int, align_corners: bool) -> tuple[Band, ...]:
    """Return the matrix that upsamples a line and sums what each tap sees, (size, coarse_size * kernel), in bands."""
    line = torch.eye(coarse_size)[None]
    upsampling = functional.interpolate(line, size=size, mode="linear", align_corners=align_corners)[0].T
    border = kernel // 2
    padded = functional.pad(upsampling, (0, 0, border, border))
    matrix = torch.stack([padded[tap : tap + size] for tap in range(kernel)], dim=2).flatten(1)
    return tuple(band_of(matrix, slice(start, start + BAND_ROWS)) for start in range(0, size, BAND_ROWS))


def band_of(matrix: Tensor, rows: slice) -> Band:
    """Return one band of a matrix."""
    used = matrix[rows].any(dim=0).nonzero()
    columns = slice(int(used.min()), int(used.max()) + 1)
    return Band(rows, columns, matrix[rows, columns].contiguous())


def by_row(weight_OIHW: Tensor) -> Tensor:
    """Return the taps of a kernel as matrices, one for each row of taps: (kernel, kernel * C_out, C_in)."""
    return weight_OIHW.permute(2, 3, 0, 1).flatten(1, 2).contiguous()


def with_weight(convolution: nn.Conv2d, weight_OIHW: Tensor) -> nn.Conv2d:
    """Return a convolution with other weights, and as many input channels as they have."""
    changed = nn.Conv2d(
        weight_OIHW.shape[1],
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        padding=convolution.padding,  # type: ignore[arg-type]
        bias=False,
    )
    changed.weight = nn.Parameter(weight_OIHW.contiguous(memory_format=torch.channels_last), requires_grad=False)
    changed.bias = convolution.bias
    return changed.eval()


def suits(convolution: nn.Module) -> bool:
    """Return whether a convolution is one of those meant here: odd square kernel, zero padding that keeps the size."""
    if type(convolution) is not nn.Conv2d:
        return False
    kernel = convolution.kernel_size[0]
    return (
        convolution.kernel_size == (kernel, kernel)
        and kernel % 2 == 1
        and convolution.padding == (kernel // 2, kernel // 2)
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.padding_mode == "zeros"
        and convolution.groups == 1
    )
