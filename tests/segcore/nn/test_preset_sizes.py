"""The presets at full size against the numbers of parameters that their authors and mmsegmentation publish."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from segcore.nn.networks import build_network, model_config
from segcore.nn.presets import PRESETS, preset_named
from segcore.process.jobs import ModelSpec

# millions of parameters: of the whole model with its auxiliary head …
WHOLE = {
    "swin_tiny_upernet": 60,
    "swin_small_upernet": 81,
    "swin_base_upernet": 121,
    "swin_large_upernet": 234,
    "convnext_tiny_upernet": 60,
    "convnext_small_upernet": 82,
    "convnext_base_upernet": 122,
    "convnext_large_upernet": 235,
    "convnext_xlarge_upernet": 391,
    "deeplabv3plus_r50": 43.6,
    "deeplabv3plus_r101": 62.6,
    "pidnet_small": 7.7,
}
# … of the backbone alone, where the head is ours or narrower
BACKBONE = {
    "efficientnet_lite0_upernet": 4.65 - 1.69,  # without the classifier
    "efficientnet_lite1_upernet": 5.42 - 1.69,
    "efficientnet_lite2_upernet": 6.09 - 1.73,
    "dinov2_small_fpn": 22.1,
    "dinov2_base_fpn": 86.6,
    "dinov2_large_fpn": 304.4,
    "dinov3_small_fpn": 21.6,
    "dinov3_base_fpn": 85.7,
    "dinov3_large_fpn": 303.1,
    "segformer_b0": 3.4,
    "segformer_b1": 13.1,
    "segformer_b2": 24.2,
    "segformer_b3": 44.0,
    "segformer_b4": 60.8,
    "segformer_b5": 81.4,
}


def untouched(tensor: Tensor, *_: object, **__: object) -> Tensor:
    """Initialise nothing."""
    return tensor


@pytest.fixture(autouse=True)
def empty_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let hundreds of millions of parameters be built without being drawn."""
    for name in ("kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "uniform_", "normal_", "trunc_normal_"):
        monkeypatch.setattr(nn.init, name, untouched)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_as_large_as_published(preset: str) -> None:
    spec = ModelSpec(preset, None, None, None, tuple("abcdefghijk"), ((0, 0, 0),) * 11)
    with torch.device("meta" if "HuggingFace" in str(preset_named(preset).model(11)) else "cpu"):
        network = build_network(model_config(spec, 64))
    part, published = (network, WHOLE[preset]) if preset in WHOLE else (network.backbone, BACKBONE[preset])
    assert sum(parameter.numel() for parameter in part.parameters()) / 1e6 == pytest.approx(published, rel=0.03)
