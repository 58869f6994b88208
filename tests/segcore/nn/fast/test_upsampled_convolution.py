from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from segcore.nn.fast.upsampled_convolution import UpsampledConvolution, suits

SIZES = ((37, 70), (19, 35), (7, 9), (1, 3), (37, 70), (50, 11))  # of the maps: coarser, equal and finer than the first
CHANNELS = (5, 4, 3, 2, 1, 6)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("align_corners", [False, True])
def test_it_equals_upsampling_concatenating_and_convolving(kernel: int, align_corners: bool) -> None:
    convolution = nn.Conv2d(sum(CHANNELS), 6, kernel, padding=kernel // 2).double()
    maps = [torch.randn(2, c, *size, dtype=torch.float64) for c, size in zip(CHANNELS, SIZES, strict=True)]
    upsampled = [functional.interpolate(x, SIZES[0], mode="bilinear", align_corners=align_corners) for x in maps]
    with torch.no_grad():
        expected = convolution(torch.cat(upsampled, dim=1))
        found = UpsampledConvolution(convolution.float(), CHANNELS, align_corners)([x.float() for x in maps])
    torch.testing.assert_close(found, expected.float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("accepted", "arguments"),
    [
        (True, {"kernel_size": 3, "padding": 1}),
        (True, {"kernel_size": 1}),
        (False, {"kernel_size": 3}),
        (False, {"kernel_size": 3, "padding": 2, "dilation": 2}),
        (False, {"kernel_size": 3, "padding": 1, "stride": 2}),
        (False, {"kernel_size": 3, "padding": 1, "groups": 2}),
        (False, {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}),
        (False, {"kernel_size": (3, 1), "padding": (1, 0)}),
        (False, {"kernel_size": 2, "padding": 1}),
    ],
)
def test_only_convolutions_that_keep_the_size_suit(accepted: bool, arguments: dict[str, object]) -> None:
    assert suits(nn.Conv2d(4, 4, **arguments)) is accepted  # type: ignore[arg-type]
