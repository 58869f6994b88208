from __future__ import annotations

import pytest
import torch
from torch import nn

from segcore.nn.fast import winograd
from segcore.nn.fast.winograd import MIN_CHANNELS, WinogradConv2d, suits


@pytest.mark.parametrize("size", [(24, 24), (21, 34), (32, 1), (3, 130), (128, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_the_convolution_in_float64(
    size: tuple[int, int], bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "MIN_TILES", 1)
    monkeypatch.setattr(winograd, "BUFFER_BYTES", 4 * 36 * 96 * 40)  # several parts of an image
    convolution = nn.Conv2d(96, 112, 3, padding=1, bias=bias)
    x = torch.randn(2, 96, *size)
    with torch.no_grad():
        found = WinogradConv2d(convolution)(x)
        expected = convolution.double()(x.double())
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert float((found.double() - expected).abs().max() / expected.abs().max()) < 3e-5


def test_few_tiles_go_through_the_convolution_itself() -> None:
    convolution = nn.Conv2d(96, 96, 3, padding=1)
    x = torch.randn(1, 96, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(WinogradConv2d(convolution)(x), convolution(x), rtol=0, atol=0)


def test_outputs_are_clamped() -> None:
    layer = WinogradConv2d(nn.Conv2d(96, 96, 3, padding=1))
    x = torch.randn(1, 96, 32, 32)
    with torch.no_grad():
        expected = layer(x).clamp(0, 0.1)
        layer.bounds = (0, 0.1)
        assert torch.equal(layer(x), expected)


@pytest.mark.parametrize(
    ("accepted", "convolution"),
    [
        (True, nn.Conv2d(MIN_CHANNELS, MIN_CHANNELS, 3, padding=1)),
        (False, nn.Conv2d(MIN_CHANNELS - 1, MIN_CHANNELS, 3, padding=1)),
        (False, nn.Conv2d(96, 96, 3, padding=1, stride=2)),
        (False, nn.Conv2d(96, 96, 3, padding=1, groups=96)),
        (False, nn.Conv2d(96, 96, 3, padding=2, dilation=2)),
        (False, nn.Conv2d(96, 96, 3, padding=0)),
        (False, nn.Conv2d(96, 96, 3, padding=1, padding_mode="reflect")),
        (False, nn.Conv2d(96, 96, 1)),
    ],
)
def test_only_large_plain_convolutions_suit(accepted: bool, convolution: nn.Conv2d) -> None:
    assert suits(convolution) is accepted
