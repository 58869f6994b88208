from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from segcore.nn.fast.trainable_convolution import TrainableUpsampledConvolution

SIZES = ((37, 70), (19, 35), (7, 9), (1, 3), (37, 70), (50, 11))  # of the maps: coarser, equal and finer than the first
CHANNELS = (5, 4, 3, 2, 1, 6)


def plain(convolution: nn.Conv2d, maps: list[Tensor], align_corners: bool) -> Tensor:
    upsampled = [functional.interpolate(x, SIZES[0], mode="bilinear", align_corners=align_corners) for x in maps]
    found: Tensor = convolution(torch.cat(upsampled, dim=1))
    return found


def gradients(loss: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs))


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("align_corners", [False, True])
def test_value_and_gradients_are_those_of_upsampling_concatenating_and_convolving(
    kernel: int, align_corners: bool
) -> None:
    convolution = nn.Conv2d(sum(CHANNELS), 6, kernel, padding=kernel // 2).double()
    maps = [
        torch.randn(2, c, *size, dtype=torch.float64, requires_grad=True)
        for c, size in zip(CHANNELS, SIZES, strict=True)
    ]
    inputs = [*maps, *convolution.parameters()]
    expected = plain(convolution, maps, align_corners)
    found = TrainableUpsampledConvolution(convolution, CHANNELS, align_corners)(maps)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    weight = torch.randn_like(expected)
    for got, wanted in zip(
        gradients((found * weight).sum(), inputs), gradients((expected * weight).sum(), inputs), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12 * float(wanted.abs().max()))


def test_it_has_the_parameters_of_the_convolution_and_a_copy_has_its_own() -> None:
    convolution = nn.Conv2d(sum(CHANNELS), 6, 3, padding=1, bias=False)
    standing = TrainableUpsampledConvolution(convolution, CHANNELS, False)
    assert [name for name, _ in standing.named_parameters()] == ["weight"]
    assert standing.weight is convolution.weight
    assert copy.deepcopy(standing).weight is not convolution.weight
