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
ONES = PATCH + 1  # the position of B^T d B that A^T (…) A adds to all 16 outputs: where the bias goes
MIN_CHANNELS = 96  # in and out; with 64 the transformations cost more than the products they save
MIN_TILES = 16  # of an image; the transformed weights are read anew for each, and 16 tiles still gain a third

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
        self.bounds = (float("-inf"), float("inf"))  # outputs are clamped to
        basis = torch.tensor(B_T, dtype=torch.float64), torch.tensor(A_T, dtype=torch.float64)
        self.register_buffer("into", torch.kron(basis[0], basis[0]).float())
        self.register_buffer("out_of", torch.kron(basis[1], basis[1]).float())
        self.register_buffer("transformed", transformed_weight(convolution.weight.detach()))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Return what the convolution gives, clamped, channels-last. x_NCHW: (N, C_in, H, W) float32."""
        batch, channels, height, width = x_NCHW.shape
        down, across = -(-height // TILE), -(-width // TILE)
        if down * across < MIN_TILES:
            return self.direct(x_NCHW).clamp_(*self.bounds)
        tiled = x_NCHW.new_empty(batch, down, TILE, across, TILE, self.direct.out_channels)
        rows = max(1, BUFFER_BYTES // (4 * PATCH**2 * channels * across))
        for x_HWC, out in zip(x_NCHW.permute(0, 2, 3, 1), tiled, strict=True):
            for top in range(0, down, rows):
                outputs = self.outputs_of(patches(x_HWC, top, min(rows, down - top)))
                torch.clamp(outputs, *self.bounds, out=out[top : top + rows])
        y_NHWC = tiled.view(batch, TILE * down, TILE * across, -1)[:, :height, :width]
        return y_NHWC.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    def outputs_of(self, patches_PPRTI: Tensor) -> Tensor:
        """Return the outputs of some rows of tiles, (R, TILE, T, TILE, C_out)."""
        _, _, rows, across, channels = patches_PPRTI.shape
        inputs = (self.into @ patches_PPRTI.reshape(PATCH**2, -1)).view(PATCH**2, rows * across, channels)
        products = torch.bmm(inputs, self.transformed)
        if self.direct.bias is not None:
            products[ONES] += self.direct.bias
        outputs = (self.out_of @ products.view(PATCH**2, -1)).view(TILE, TILE, rows, across, -1)
        return outputs.permute(2, 0, 3, 1, 4)


def patches(x_HWC: Tensor, top: int, rows: int) -> Tensor:
    """Return the overlapping inputs of some rows of tiles from row `top` on, (PATCH, PATCH, rows, T, C), a view."""
    width, channels = x_HWC.shape[1:]
    across = -(-width // TILE)
    first = TILE * top - 1
    inside = x_HWC[max(first, 0) : first + TILE * rows + 2]
    above = max(-first, 0)
    below = TILE * rows + 2 - above - len(inside)
    padded = functional.pad(inside, (0, 0, 1, TILE * across + 1 - width, above, below))
    by_row, by_column, _ = padded.stride()
    shape = (PATCH, PATCH, rows, across, channels)
    return padded.as_strided(shape, (by_row, by_column, TILE * by_row, TILE * by_column, 1))


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
