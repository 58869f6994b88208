"""The convolution of upsampled maps (segcore/nn/fast/upsampled_convolution.py) in a form that can be trained.

It stays a Conv2d with the very weights of the one it stands for: optimiser, checkpoints and copies see no difference.
Every step is a product that autograd knows, and keeps nothing but maps and weights for the backward pass; upsampled
maps and their concatenation, the largest tensors of a UPerNet, are never made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional


class TrainableUpsampledConvolution(nn.Conv2d):
    """Stands for convolution(concat(maps[0], up(maps[1]), up(maps[2]), …)), and shares its parameters.

    convolution: one that `suits` accepts. channels: of each map.
    """

    def __init__(self, convolution: nn.Conv2d, channels: Sequence[int], align_corners: bool) -> None:
        super().__init__(1, 1, convolution.kernel_size[0])
        self.in_channels, self.out_channels = convolution.in_channels, convolution.out_channels
        self.padding = convolution.padding
        self.weight, self.bias = convolution.weight, convolution.bias
        self.channels = list(channels)
        self.align_corners = align_corners

    def forward(self, maps: Sequence[Tensor]) -> Tensor:  # type: ignore[override]
        """Return the convolution at the size of maps[0]. maps: each (N, C_i, h_i, w_i)."""
        own_weight, *weights = self.weight.split(self.channels, dim=1)
        own = functional.conv2d(maps[0], own_weight, self.bias, padding=self.padding)
        num_images, channels, height, width = own.shape
        coarse = list(zip(maps[1:], weights, strict=True))
        wide = torch.cat([rows for x_NCHW, weight in coarse for rows in self.widened(x_NCHW, weight, width)], dim=1)
        taps = torch.cat([self.taps(height, x_NCHW.shape[2], wide).flatten(0, 1) for x_NCHW, _ in coarse])
        added = torch.bmm(taps.T.expand(num_images, -1, -1), wide)
        return own + added.view(num_images, height, width, channels).permute(0, 3, 1, 2)

    def widened(self, x_NCHW: Tensor, weight_OIHW: Tensor, width: int) -> list[Tensor]:
        """Return what each row of taps sees of a map at full width: (N, h, width * C_out) each."""
        num_images, _, height, coarse_width = x_NCHW.shape
        x_NHWC = x_NCHW.permute(0, 2, 3, 1).contiguous()
        found = []
        for row in weight_OIHW.permute(2, 3, 0, 1):  # (kernel, C_out, C_in)
            products = functional.linear(x_NHWC, row.flatten(0, 1))
            products = products.view(num_images * height, -1, self.out_channels)
            matrix = self.taps(width, coarse_width, products).permute(2, 1, 0).flatten(1)
            wide = torch.bmm(matrix.expand(len(products), -1, -1), products)
            found.append(wide.view(num_images, height, -1))
        return found

    def taps(self, size: int, coarse_size: int, like: Tensor) -> Tensor:
        """Return `tap_matrices` of this convolution, of the type and on the device of a tensor."""
        return tap_matrices((size, coarse_size), self.kernel_size[0], self.align_corners, like.dtype, like.device)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept must serve passes of all kinds
def tap_matrices(
    sizes: tuple[int, int], kernel: int, align_corners: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return what each tap sees of an upsampled line, zeros around it: (kernel, coarse size, size).

    sizes: full and coarse.
    """
    size, coarse_size = sizes
    line = torch.eye(coarse_size, dtype=torch.float64)[None]
    upsampled = functional.interpolate(line, size=size, mode="linear", align_corners=align_corners)[0]
    border = kernel // 2
    padded = functional.pad(upsampled, (border, border))
    return torch.stack([padded[:, tap : tap + size] for tap in range(kernel)]).to(device, dtype)
