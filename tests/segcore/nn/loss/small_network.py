"""A real mmseg segmentor of a few thousand weights, with an auxiliary head, and batches for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from numpy.typing import NDArray

from segcore.config.train_schema import LossConfig
from segcore.nn.loss.apply import LossPlan, apply_loss
from segcore.nn.loss.batch_weights import weigh

SIDE, NUM_CLASSES, IGNORE = 32, 3, 255
CROSS_ENTROPY = {"type": "CrossEntropyLoss", "avg_non_ignore": True}


def small_network(loss_decode: Any = CROSS_ENTROPY) -> BaseSegmentor:
    """Return the network, in evaluation mode: the same batch gives the same logits alone and beside others."""
    register_all_modules(init_default_scope=True)
    head = {"type": "FCNHead", "num_convs": 1, "channels": 8, "num_classes": NUM_CLASSES, "dropout_ratio": 0.0}
    head |= {"norm_cfg": {"type": "BN"}, "align_corners": False}
    backbone = {"type": "ResNet", "depth": 18, "base_channels": 4, "num_stages": 4, "norm_cfg": {"type": "BN"}}
    auxiliary = {**head, "in_channels": 16, "in_index": 2, "loss_decode": {**CROSS_ENTROPY, "loss_weight": 0.4}}
    torch.manual_seed(0)
    model = {
        "type": "EncoderDecoder",
        "backbone": backbone,
        "decode_head": {**head, "in_channels": 32, "in_index": 3, "loss_decode": loss_decode},
        "auxiliary_head": auxiliary,
    }
    network: BaseSegmentor = MODELS.build(model)
    network.decode_head.conv_seg.weight.data.normal_(std=3.0)  # logits that differ
    return network.eval()


def cascade() -> BaseSegmentor:
    """Return a network whose second head refines the first one's prediction, in evaluation mode."""
    register_all_modules(init_default_scope=True)
    head = {"channels": 8, "num_classes": NUM_CLASSES, "loss_decode": CROSS_ENTROPY, "norm_cfg": {"type": "BN"}}
    first = {"type": "FCNHead", "num_convs": 1, "in_channels": 16, "in_index": 2, **head}
    second = {"type": "OCRHead", "ocr_channels": 4, "in_channels": 16, "in_index": 2, **head}
    backbone = {"type": "ResNet", "depth": 18, "base_channels": 4, "num_stages": 4, "norm_cfg": {"type": "BN"}}
    built: BaseSegmentor = MODELS.build(
        {"type": "CascadeEncoderDecoder", "num_stages": 2, "backbone": backbone, "decode_head": [first, second]}
    )
    return built.eval()


def with_loss(plan: LossPlan | LossConfig, **network: Any) -> BaseSegmentor:
    """Return the small network with a loss applied."""
    built = small_network(**network)
    apply_loss(built, plan if isinstance(plan, LossPlan) else LossPlan(plan, None, SIDE))
    return built


def label_maps(*kinds: str) -> list[NDArray[np.int64]]:
    """Return a label map for each kind: "mixed" (a quarter ignored), "none" (all ignored), "one" (a single pixel)."""
    rng = np.random.default_rng(7)
    found = []
    for kind in kinds:
        labels = rng.integers(0, NUM_CLASSES, (SIDE, SIDE))
        kept = {"mixed": rng.random(SIDE * SIDE) < 0.75, "none": np.zeros(SIDE * SIDE, bool)}
        kept["one"] = np.arange(SIDE * SIDE) == 70
        found.append(np.where(kept[kind].reshape(SIDE, SIDE), labels, IGNORE))
    return found


def samples_of(
    labels: Sequence[NDArray[np.int64]], weights: Sequence[float], pixels: Sequence[NDArray[np.uint8] | None]
) -> list[SegDataSample]:
    """Return data samples as the training set makes them."""
    found = []
    for label, weight, pixel in zip(labels, weights, pixels, strict=True):
        sample = SegDataSample(gt_sem_seg=PixelData(data=torch.from_numpy(label)[None]))
        weigh(sample, weight, pixel)
        found.append(sample)
    return found


def images(number: int) -> torch.Tensor:
    """Return images, (N, 3, H, W) float32; the first ones are the same whatever the number."""
    return torch.stack([torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(i)) for i in range(number)])


def logits_of(network: BaseSegmentor, inputs: torch.Tensor) -> torch.Tensor:
    """Return the decode head's logits at the size of the label maps, (N, C, H, W)."""
    found = network.decode_head.forward(network.extract_feat(inputs))
    return resize(found, size=(SIDE, SIDE), mode="bilinear", align_corners=False).detach()
