"""Small networks of mmseg's kinds with random weights and statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.models import BaseSegmentor
from mmseg.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm

import segcore.nn.efficientnet_lite  # noqa: F401  registers EfficientNetLite0

NUM_CLASSES = 5
LOSS = {"type": "CrossEntropyLoss", "avg_non_ignore": True}
RESNET = {"type": "ResNetV1c", "depth": 18, "base_channels": 16, "stem_channels": 16, "norm_cfg": {"type": "BN"}}
BACKBONES: dict[str, tuple[dict[str, Any], list[int]]] = {
    "lite0": ({"type": "EfficientNetLite0"}, [24, 40, 112, 320]),
    "mobilenet": (
        {"type": "MobileNetV2", "strides": (1, 2, 2, 2, 1, 2, 1), "out_indices": (1, 2, 4, 6)},
        [24, 32, 96, 320],
    ),
    "resnet": (RESNET, [16, 32, 64, 128]),
    "swin": (
        {
            "type": "SwinTransformer",
            "embed_dims": 12,
            "depths": [2, 2, 2, 2],
            "num_heads": [1, 1, 2, 2],
            "window_size": 7,
        },
        [12, 24, 48, 96],
    ),
}


def head_of(kind: str, channels: list[int]) -> dict[str, Any]:
    """Return the config of a decode head on feature maps with so many channels."""
    common = {"num_classes": NUM_CLASSES, "norm_cfg": {"type": "BN"}, "loss_decode": LOSS, "align_corners": False}
    pyramid = {"type": "UPerHead", "in_channels": channels, "in_index": [0, 1, 2, 3], "channels": 100}
    return {
        "uper": common | pyramid,
        "uper_aligned": common | pyramid | {"align_corners": True, "channels": 24},
        "uper_subset": common | pyramid | {"in_channels": channels[1:], "in_index": [1, 2, 3], "channels": 24},
        "psp": common | {"type": "PSPHead", "in_channels": channels[3], "in_index": 3, "channels": 24},
        "segformer": common
        | {"type": "SegformerHead", "in_channels": channels, "in_index": [0, 1, 2, 3], "channels": 24},
        "fcn": common | {"type": "FCNHead", "in_channels": channels[2], "in_index": 2, "channels": 24},
    }[kind]


def network_of(backbone: str, head: str, **others: Any) -> BaseSegmentor:
    """Return a segmentor in evaluation. others: entries of its model dict."""
    init_default_scope("mmseg")
    torch.manual_seed(0)
    parts, channels = BACKBONES[backbone]
    model = {
        "type": "EncoderDecoder",
        "backbone": parts,
        "decode_head": head_of(head, channels),
        "test_cfg": {"mode": "whole"},
    }
    network: BaseSegmentor = MODELS.build(ConfigDict(model | others))
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            for tensor, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 1.5),
                (module.weight, 0.5, 1.5),
                (module.bias, -0.3, 0.3),
            ):
                torch.nn.init.uniform_(tensor, low, high)
    return network.eval()


@pytest.fixture
def build() -> Callable[..., BaseSegmentor]:
    """Return network_of."""
    return network_of
