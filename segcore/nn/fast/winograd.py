"""3x3 convolutions with a quarter of the multiplications: Winograd's F(4x4, 3x3).

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks" (https://arxiv.org/abs/1509.09308): a tile of
4x4 outputs is A^T [(G w G^T) * (B^T d B)] A with d the 6x6 inputs around it, so 36 products instead of 144. Summed over
input channels, each of the 36 positions is one matrix product of all tiles with the transformed weights. The
transformations are 36x36 and 16x36 matrices (Kronecker products), applied to all channels of many tiles at once.

Rounding error in float32 is about 1e-5 of the largest output, direct convolution's 2e-6.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from segcore.nn.fast.adjacency import replace

TILE = 4
PATCH = TILE + 2
BUFFER_BYTES = 8 << 20  # of the transformed inputs of the tiles that run together: stays in the caches
MIN_CHANNELS = 96  # below, the transformations cost more than the products they save
MIN_TILES = 32  # below, reading the transformed weights costs more

B_T = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
A_T = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


class WinogradConv2d(nn.Module):
    """Stands for a convolution that `suits` accepts, on CPU in float32."""

    into: Tensor  # (36, 36)
    out_of: Tensor  # (16, 36)
    transformed: Tensor  # (36, C_in, C_out), the weights

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.direct = convolution
        basis = torch.tensor(B_T, dtype=torch.float64), torch.tensor(A_T, dtype=torch.float64)
        self.register_buffer("into", torch.kron(basis[0], basis[0]).float())
        self.register_buffer("out_of", torch.kron(basis[1], basis[1]).float())
        self.register_buffer("transformed", transformed_weight(convolution.weight.detach()))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return what the convolution gives, channels-last. x_NCHW: (N, C_in, H, W) float32."""
        batch, channels, height, width = x_NCHW.shape
        down, across = -(-height // TILE), -(-width // TILE)
        if batch * down * across < MIN_TILES:
            return self.direct(x_NCHW)
        padding = (0, 0, 1, TILE * across + 1 - width, 1, TILE * down + 1 - height)
        padded_NHWC = functional.pad(x_NCHW.permute(0, 2, 3, 1), padding)
        tiled = x_NCHW.new_empty(batch, down, TILE, across, TILE, self.direct.out_channels)
        rows = max(1, BUFFER_BYTES // (4 * PATCH**2 * channels * across))
        for image_NHWC, out in zip(padded_NHWC, tiled, strict=True):
            for top in range(0, down, rows):
                part = image_NHWC[TILE * top : TILE * (top + rows) + 2]
                out[top : top + rows] = self.outputs_of(part, across)
        y_NHWC = tiled.view(batch, TILE * down, TILE * across, -1)[:, :height, :width]
        if self.direct.bias is not None:
            y_NHWC = y_NHWC + self.direct.bias
        return y_NHWC.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    def outputs_of(self, rows_HWC: Tensor, across: int) -> Tensor:
        """Return the outputs of some rows of tiles, (down, TILE, across, TILE, C_out); rows_HWC: padded inputs."""
        down, channels = (rows_HWC.shape[0] - 2) // TILE, rows_HWC.shape[2]
        by_row, by_column, _ = rows_HWC.stride()
        shape = (PATCH, PATCH, down, across, channels)
        patches = rows_HWC.as_strided(shape, (by_row, by_column, TILE * by_row, TILE * by_column, 1))
        inputs_PTI = (self.into @ patches.reshape(PATCH**2, -1)).view(PATCH**2, down * across, channels)
        products_PTO = torch.bmm(inputs_PTI, self.transformed)
        outputs = (self.out_of @ products_PTO.view(PATCH**2, -1)).view(TILE, TILE, down, across, -1)
        return outputs.permute(2, 0, 3, 1, 4)


def use_winograd_convolutions(network: nn.Module) -> int:
    """Replace every convolution of a network that gains by it, in place, and return how many."""
    found = [module for module in network.modules() if isinstance(module, nn.Conv2d) and suits(module)]
    for convolution in found:
        replace(network, convolution, WinogradConv2d(convolution))
    return len(found)


def transformed_weight(weight_OIHW: Tensor) -> Tensor:
    """Return G w G^T of every 3x3 kernel: (36, C_in, C_out) float32."""
    basis = torch.tensor(G, dtype=torch.float64)
    weight = torch.einsum("ai,ocij,bj->abco", basis, weight_OIHW.double(), basis)
    return weight.flatten(0, 1).float().contiguous()


def suits(convolution: nn.Conv2d) -> bool:
    """Return whether a convolution can be done so and gains by it: 3x3, stride 1, zero padding of 1, many channels."""
    return (
        type(convolution) is nn.Conv2d
        and convolution.kernel_size == (3, 3)
        and convolution.stride == convolution.dilation == (1, 1)
        and convolution.padding == (1, 1)
        and convolution.padding_mode == "zeros"
        and convolution.groups == 1
        and min(convolution.in_channels, convolution.out_channels) >= MIN_CHANNELS
    )
