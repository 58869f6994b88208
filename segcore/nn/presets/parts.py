"""Parts that the model dicts of several presets share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ModelDict = dict[str, Any]

SHRINK = 8  # a tiny model is an eighth as wide …
TINY_DEPTH = 2  # … and has at most two blocks in a row: two are what shifted windows need
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # mean, std of RGB 0..255


def batch_norm() -> ModelDict:
    """Return the batch norm of heads and necks."""
    return {"type": "BN", "requires_grad": True}


def shallow(depths: Sequence[int]) -> tuple[int, ...]:
    """Return the depths of a tiny model's stages."""
    return tuple(min(depth, TINY_DEPTH) for depth in depths)


def segmentor(backbone: ModelDict, decode_head: ModelDict, **more: Any) -> ModelDict:
    """Return an EncoderDecoder on images normalised like ImageNet. more: further parts, or others in their place."""
    return {
        "type": "EncoderDecoder",
        "data_preprocessor": preprocessor(*IMAGENET),
        "backbone": backbone,
        "decode_head": decode_head,
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
        **more,
    }


def preprocessor(mean: Sequence[float], std: Sequence[float]) -> ModelDict:
    """Return mmseg's data preprocessor. mean, std: of RGB 0..255."""
    return {
        "type": "SegDataPreProcessor",
        "mean": list(mean),
        "std": list(std),
        "bgr_to_rgb": True,
        "pad_val": 0,
        "seg_pad_val": 255,
        "test_cfg": {"size_divisor": 32},
    }


def uper_head(in_channels: Sequence[int], channels: int, num_classes: int) -> ModelDict:
    """Return a UPerNet head (Xiao et al. 2018, https://arxiv.org/abs/1807.10221) on maps at strides 4, 8, 16, 32."""
    return {
        "type": "UPerHead",
        "in_channels": list(in_channels),
        "in_index": [0, 1, 2, 3],
        "pool_scales": [1, 2, 3, 6],
        "channels": channels,
        **classifier(num_classes),
    }


def auxiliary_head(in_channels: int, channels: int, num_classes: int) -> ModelDict:
    """Return a small head on the third stage, which trains with the decode head at 0.4 of its weight."""
    return {
        "type": "FCNHead",
        "in_channels": in_channels,
        "in_index": 2,
        "channels": channels,
        "num_convs": 1,
        "concat_input": False,
        **classifier(num_classes),
        "loss_decode": {"type": "CrossEntropyLoss", "avg_non_ignore": True, "loss_weight": 0.4},
    }


def classifier(num_classes: int) -> ModelDict:
    """Return the end that decode heads share."""
    return {
        "dropout_ratio": 0.1,
        "num_classes": num_classes,
        "out_channels": num_classes,
        "norm_cfg": batch_norm(),
        "align_corners": False,
        # mmseg's 0.01 makes the first dozens of iterations of a short training idle
        "init_cfg": {"type": "Normal", "std": 0.1, "override": {"name": "conv_seg"}},
        # the mean over labelled pixels only: pseudo-labels with much ignore must not weaken ground truth
        "loss_decode": {"type": "CrossEntropyLoss", "avg_non_ignore": True},
    }
