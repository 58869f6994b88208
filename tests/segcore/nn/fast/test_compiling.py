from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
import torch
from mmseg.models import BaseSegmentor
from torch import Tensor

from segcore.nn.fast.compiling import MIN_IMAGES, compile_backbone, worth_compiling
from segcore.nn.fast.network import FastNetwork, FastSpec, make_fast

Build = Callable[..., BaseSegmentor]
SHAPES = ((64, 96), (96, 96))


@pytest.fixture
def fast(build: Build) -> FastNetwork:
    return make_fast(build("resnet", "fcn"), FastSpec("cpu", "fp32", SHAPES, 1))


def test_compiling_is_for_many_images_on_cuda() -> None:
    assert worth_compiling("cuda", MIN_IMAGES)
    assert not worth_compiling("cuda", MIN_IMAGES - 1)
    assert not worth_compiling("cpu", MIN_IMAGES)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_backbone_gives_the_same(fast: FastNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = torch.randn(2, 3, 64, 96)
    expected = fast(inputs)
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))  # no C++ compiler needed
    assert compile_backbone(fast.network, fast, SHAPES) == "backbone compiled"
    torch.testing.assert_close(fast(inputs), expected)


def test_a_backbone_that_cannot_be_compiled_runs_as_it_is(
    fast: FastNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_compiler(*_: object) -> None:
        raise RuntimeError("no working C++ compiler")

    backbone = fast.network.backbone
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=no_compiler))
    with caplog.at_level("INFO", logger="segcore.nn.fast.compiling"):
        assert compile_backbone(fast.network, fast, SHAPES) == ""
    assert fast.network.backbone is backbone
    assert "backbone not compiled: BackendCompilerFailed" in caplog.text


def test_a_compiled_backbone_that_gives_something_else_is_not_used(
    fast: FastNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubled(backbone: Callable[[Tensor], tuple[Tensor, ...]], **_: object) -> torch.nn.Module:
        class Doubled(torch.nn.Module):
            def forward(self, x: Tensor) -> tuple[Tensor, ...]:
                return tuple(2 * feature for feature in backbone(x))

        return Doubled()

    backbone = fast.network.backbone
    monkeypatch.setattr(torch, "compile", doubled)
    assert compile_backbone(fast.network, fast, SHAPES) == ""
    assert fast.network.backbone is backbone
