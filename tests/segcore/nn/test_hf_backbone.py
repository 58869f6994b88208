from __future__ import annotations

import pytest
import torch
from mmengine.config import ConfigDict

from segcore.nn.hf_backbone import HuggingFaceBackbone
from segcore.nn.presets import PRESETS


def backbone(preset: str) -> HuggingFaceBackbone:
    """Return the backbone of a tiny preset, from a config as mmengine reads it."""
    return HuggingFaceBackbone(ConfigDict(PRESETS[preset].model(2, tiny=True)["backbone"]["config"]))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (50, 77)])
@pytest.mark.parametrize(("preset", "patch"), [("dinov2_small_fpn", 14), ("dinov3_small_fpn", 16)])
def test_a_vision_transformer_sees_the_whole_image_in_whole_patches(
    preset: str, patch: int, height: int, width: int
) -> None:
    with torch.inference_mode():
        maps = backbone(preset).eval()(torch.randn(1, 3, height, width))
    assert [tuple(x.shape[2:]) for x in maps] == [(-(-height // patch), -(-width // patch))] * 4


def test_a_convolutional_network_gives_maps_at_strides_4_to_32() -> None:
    network = backbone("convnext_tiny_upernet").eval()
    with torch.inference_mode():
        found = [tuple(x.shape[2:]) for x in network(torch.randn(1, 3, 70, 96))]
    assert found == [(18, 24), (9, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("preset", ["dinov2_small_fpn", "dinov3_small_fpn", "convnext_tiny_upernet"])
def test_every_parameter_that_trains_gets_a_gradient(preset: str) -> None:
    network = backbone(preset)
    sum(x.sum() for x in network(torch.randn(2, 3, 64, 64))).backward()  # type: ignore[union-attr]
    assert [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None] == []
