from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from mmseg.models import BaseSegmentor
from torch import Tensor, nn

from segcore.nn.fast.network import FastNetwork, FastSpec, make_fast

Build = Callable[..., BaseSegmentor]
SIZES = ((96, 130), (160, 224), (128, 96))


def expected_logits(network: BaseSegmentor, inputs: Tensor) -> Tensor:
    """Return what mmseg itself gives."""
    shape = inputs.shape[2:]
    with torch.no_grad():
        return network.inference(inputs, [{"ori_shape": shape, "img_shape": shape, "pad_shape": shape}] * len(inputs))


def fast_copy(network: BaseSegmentor, precision: str = "fp32") -> FastNetwork:
    """Return a copy of a network made fast on CPU."""
    return make_fast(copy.deepcopy(network), FastSpec("cpu", precision, ((160, 224),), 100))


@pytest.mark.parametrize("head", ["uper", "uper_aligned", "uper_subset", "psp", "segformer", "fcn"])
@pytest.mark.filterwarnings("ignore:When align_corners=True")
def test_every_head_gives_what_it_gave_at_every_size(build: Build, head: str) -> None:
    network = build("resnet", head)
    fast = fast_copy(network)
    for height, width in SIZES:
        inputs = torch.randn(2, 3, height, width)
        expected = expected_logits(network, inputs)
        torch.testing.assert_close(fast(inputs), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("backbone", ["lite0", "mobilenet", "swin"])
def test_every_backbone_gives_what_it_gave(build: Build, backbone: str) -> None:
    network = build(backbone, "uper")
    inputs = torch.randn(1, 3, 160, 96)
    expected = expected_logits(network, inputs)
    torch.testing.assert_close(fast_copy(network)(inputs), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("backbone", ["lite0", "mobilenet"])
def test_a_convolutional_network_is_left_without_batch_norms_and_without_relus(build: Build, backbone: str) -> None:
    fast = fast_copy(build(backbone, "uper"))
    left = {type(module) for module in fast.network.modules()}
    assert not left & {nn.BatchNorm2d, nn.ReLU, nn.ReLU6}
    assert "batch norms folded, UPerHead convolves before it upsamples, 5 convolutions by Winograd" in fast.description


def test_windows_of_mmsegs_own_are_as_before(build: Build) -> None:
    network = build("resnet", "uper", test_cfg={"mode": "slide", "crop_size": (64, 64), "stride": (48, 48)})
    inputs = torch.randn(2, 3, 96, 128)
    expected = expected_logits(network, inputs)
    torch.testing.assert_close(fast_copy(network)(inputs), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_a_short_precision_gives_the_labels_of_mmseg_under_autocast(
    build: Build, precision: str, dtype: torch.dtype
) -> None:
    network = build("resnet", "uper")
    inputs = torch.randn(1, 3, 96, 128)
    with torch.autocast("cpu", dtype):
        expected = expected_logits(network, inputs).float()
    found = fast_copy(network, precision)(inputs)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


class NormBesideItsInput(nn.Module):
    """A convolution whose output is used beside its batch norm, too: folding changes the result."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.convolution(x)
        return y + self.norm(y)


def test_a_network_that_a_rewriting_does_not_fit_keeps_its_result(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    network = build("resnet", "fcn")
    network.backbone.stem = NormBesideItsInput().eval()
    with caplog.at_level("INFO"):
        fast = fast_copy(network)
    inputs = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(fast(inputs), expected_logits(network, inputs))
    assert "fold_norms left out: its result would change" in caplog.text


def test_a_network_that_fails_on_the_small_input_runs_as_it_is(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    network = build("resnet", "fcn")
    network.backbone.register_forward_pre_hook(refuse_other_sizes)
    with caplog.at_level("INFO"):
        fast = fast_copy(network)
    inputs = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(fast(inputs), expected_logits(network, inputs))
    assert "ValueError: 64 x 64 only" in caplog.text


def refuse_other_sizes(_: nn.Module, inputs: tuple[Tensor]) -> None:
    """Raise ValueError for inputs that are not 64 x 64."""
    if inputs[0].shape[2:] != (64, 64):
        raise ValueError("64 x 64 only")


def test_weights_that_are_no_numbers_stay_so(build: Build) -> None:
    network = build("resnet", "uper")
    nn.init.constant_(network.backbone.layer1[0].conv1.weight, float("nan"))
    assert fast_copy(network)(torch.randn(1, 3, 64, 64)).isnan().all()
