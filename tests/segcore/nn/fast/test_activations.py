from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from segcore.nn.fast.activations import ClampedConv2d, with_inner_padding


class PaddedConv2d(nn.Conv2d):
    """A convolution with a padding layer of its own, as EfficientNet's are written."""

    def __init__(self, kernel_size: int, stride: int, padding: tuple[int, int, int, int], **options: object) -> None:
        super().__init__(4, 4, kernel_size, stride, groups=4, **options)
        self.static_padding = nn.ZeroPad2d(padding)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return super().forward(self.static_padding(x_NCHW))


@pytest.mark.parametrize("size", [(16, 16), (17, 20), (33, 15)])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding"),
    [(3, 2, (0, 1, 0, 1)), (5, 2, (1, 2, 1, 2)), (3, 1, (2, 0, 1, 3)), (3, 2, (1, 1, 1, 1)), (1, 1, (0, 0, 0, 0))],
)
@pytest.mark.parametrize("bias", [True, False])
def test_padding_inside_a_convolution_gives_what_a_layer_before_it_gave(
    kernel_size: int, stride: int, padding: tuple[int, int, int, int], size: tuple[int, int], bias: bool
) -> None:
    convolution = PaddedConv2d(kernel_size, stride, padding, bias=bias).eval()
    x = torch.randn(2, 4, *size)
    with torch.inference_mode():
        torch.testing.assert_close(with_inner_padding(convolution)(x), convolution(x), rtol=0, atol=1e-6)
        expected = convolution(x).clamp(0, 0.5)
        torch.testing.assert_close(ClampedConv2d(convolution, (0, 0.5))(x), expected, rtol=0, atol=1e-6)


def test_padding_that_a_kernel_cannot_take_in_is_refused() -> None:
    convolution = PaddedConv2d(3, 1, (1, 1, 1, 1), dilation=2)
    with pytest.raises(ValueError, match="dense kernel"):
        with_inner_padding(convolution)
    convolution = PaddedConv2d(3, 1, (1, 1, 1, 1))
    convolution.static_padding = nn.ReflectionPad2d(1)
    with pytest.raises(ValueError, match="must be zeros"):
        with_inner_padding(convolution)
