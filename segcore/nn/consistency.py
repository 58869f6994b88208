"""Consistency training as UniMatch V2 does it (Yang et al. 2025, TPAMI, https://arxiv.org/abs/2410.10777).

An EMA teacher labels the weak view of a pool image. The student must say the same of two strong views, wherever the
teacher is sure: colours changed, CutMix with another image of the batch, and the channels of the backbone's features
divided between the two. Three things are ours. Batch norm's running statistics are not moved by strong views, of which
there are none when the student labels. The share of a batch whose channels are divided is a number of the config. And
the teacher's decay is warmed up (segcore/nn/ema.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models import BaseSegmentor, EncoderDecoder
from mmseg.structures import SegDataSample
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from segcore.config.student_schema import ConsistencyConfig
from segcore.errors import ConfigError

TRIAL_PX = 128
Features = Sequence[torch.Tensor]


@dataclass(frozen=True)
class Views:
    """A batch of U pool images, normalised and padded: each view (U, 3, H, W) float.

    mix_1, mix_2: (U, H, W) bool, where a strong view shows the image at the other end of the batch. valid: (U, H, W)
    bool, False where a view is padding.
    """

    weak: torch.Tensor
    strong_1: torch.Tensor
    strong_2: torch.Tensor
    mix_1: torch.Tensor
    mix_2: torch.Tensor
    valid: torch.Tensor


@dataclass(frozen=True)
class Target:
    """What the student is to say: label_map int64, confidence float in [0, 1], valid bool, each (U, H, W)."""

    label_map: torch.Tensor
    confidence: torch.Tensor
    valid: torch.Tensor

    def mixed(self, mask: torch.Tensor) -> Target:
        """Return the target of images that CutMix was done to: confidence follows the pixels."""
        return Target(cut_mixed(self.label_map, mask), cut_mixed(self.confidence, mask), cut_mixed(self.valid, mask))


@dataclass(frozen=True)
class Found:
    """A consistency loss, and the share of pixels that the teacher was sure of."""

    loss: torch.Tensor
    confident: torch.Tensor


def consistency_loss(
    student: EncoderDecoder, teacher: EncoderDecoder, views: Views, config: ConsistencyConfig
) -> Found:
    """Return the loss of the student on two strong views against the teacher's labels of the weak one."""
    target = labelled_by(teacher, views)
    strong = torch.cat([cut_mixed(views.strong_1, views.mix_1), cut_mixed(views.strong_2, views.mix_2)])
    with still_statistics(student):
        first, second = logits_of(student, strong, config.feature_dropout).chunk(2)
    loss_1 = masked_cross_entropy(first, target.mixed(views.mix_1), config.tau)
    loss_2 = masked_cross_entropy(second, target.mixed(views.mix_2), config.tau)
    sure = (target.confidence >= config.tau) & target.valid
    return Found((loss_1 + loss_2) / 2, sure.sum() / target.valid.sum().clamp(min=1))


@torch.no_grad()
def labelled_by(teacher: EncoderDecoder, views: Views) -> Target:
    """Return the teacher's label map and confidence of the weak views."""
    confidence, label_map = logits_of(teacher, views.weak).float().softmax(dim=1).max(dim=1)
    return Target(label_map, confidence, views.valid)


def masked_cross_entropy(logits: torch.Tensor, target: Target, tau: float) -> torch.Tensor:
    """Return cross-entropy where the teacher is sure, summed, over the number of all pixels that are no padding."""
    loss = functional.cross_entropy(logits.float(), target.label_map, reduction="none")
    sure = (target.confidence >= tau) & target.valid
    return (loss * sure).sum() / target.valid.sum().clamp(min=1)


def logits_of(network: EncoderDecoder, images: torch.Tensor, dropped_share: float = 0.0) -> torch.Tensor:
    """Return logits (N, C, H, W) of images (N, 3, H, W).

    dropped_share: of the pairs (i, i + N/2) whose features are divided; see divided.
    """
    features = network.backbone(images)
    if dropped_share > 0:
        features = divided(features, dropped_share)
    if network.with_neck:
        features = network.neck(features)
    logits = network.decode_head.forward(features)
    return functional.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=network.align_corners)


def divided(features: Features, share: float) -> tuple[torch.Tensor, ...]:
    """Return features of 2U images in which the channels are divided between image i and image U + i.

    Each channel goes to one of the two by the toss of a coin, doubled, and is zero in the other (complementary
    dropout); with several feature maps, each has its own channels and coins. share: of the U pairs that this is done
    to, rounded up; the others stay as they are. features: (2U, C, h, w) each.
    """
    num_pairs = features[0].shape[0] // 2
    num_kept = int(num_pairs * (1 - share))
    kept = torch.randperm(num_pairs, device=features[0].device)[:num_kept]
    return tuple(feature * channel_masks(feature, kept) for feature in features)


def channel_masks(feature: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Return factors (2U, C, 1, 1): 0 or 2, adding up to 2 in each pair; 1 for the pairs that are kept."""
    num_pairs, channels = feature.shape[0] // 2, feature.shape[1]
    first = torch.randint(0, 2, (num_pairs, channels), device=feature.device).to(feature.dtype) * 2
    first[kept] = 1
    return torch.cat([first, 2 - first])[:, :, None, None]


def cut_mixed(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return values (U, …, H, W) that show, inside mask (U, H, W), those of the batch in reverse order."""
    return torch.where(mask if values.ndim == mask.ndim else mask[:, None], values.flip(0), values)


@contextmanager
def still_statistics(network: nn.Module) -> Iterator[None]:
    """Normalise by the batch in batch norm, but leave its running statistics alone."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def views_of(network: BaseSegmentor, batch: dict[str, list[torch.Tensor]]) -> Views:
    """Return a batch of segcore/nn/unlabelled_data.py as the network sees it: normalised and padded."""
    images = [*batch["weak"], *batch["strong_1"], *batch["strong_2"]]
    data: Any = network.data_preprocessor({"inputs": images, "data_samples": [blank(image) for image in images]}, True)
    inputs: torch.Tensor = data["inputs"]
    num_images, (height, width) = len(batch["weak"]), inputs.shape[2:]
    padded = torch.stack([sample.gt_sem_seg.data[0] for sample in data["data_samples"][:num_images]])
    valid = padded.to(inputs.device) == 0
    mix_1, mix_2 = (box_masks(torch.stack(batch[name]).to(inputs.device), height, width) for name in ("box_1", "box_2"))
    weak, strong_1, strong_2 = inputs.chunk(3)
    return Views(weak, strong_1, strong_2, mix_1, mix_2, valid)


def blank(image: torch.Tensor) -> SegDataSample:
    """Return a label map of zeros for an image, which the preprocessor pads as it pads any."""
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(data=torch.zeros((1, *image.shape[1:]), dtype=torch.uint8, device=image.device))
    return sample


def box_masks(boxes: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return (U, height, width) bool, True inside each box (top, bottom, left, right)."""
    rows, columns = torch.arange(height, device=boxes.device), torch.arange(width, device=boxes.device)
    inside_rows = (rows >= boxes[:, :1]) & (rows < boxes[:, 1:2])
    inside_columns = (columns >= boxes[:, 2:3]) & (columns < boxes[:, 3:])
    return inside_rows[:, :, None] & inside_columns[:, None, :]


@torch.no_grad()
def require_one_output(network: BaseSegmentor, size: int) -> EncoderDecoder:
    """Return a network that consistency training can be done with; ConfigError for one with other parts.

    It is tried in training mode on two grey images, of size px or less: heads such as PIDNet's give more then than
    logits.
    """
    if isinstance(network, EncoderDecoder) and not isinstance(network.decode_head, nn.ModuleList):
        side = min(size, TRIAL_PX)
        images = torch.zeros((2, 3, side, side), device=next(network.parameters()).device)
        with still_statistics(network.train()):
            features = network.backbone(images)
            given = network.decode_head.forward(network.neck(features) if network.with_neck else features)
        if isinstance(features, (tuple, list)) and isinstance(given, torch.Tensor):
            return network
    raise ConfigError(
        "student.consistency needs a model of a backbone and one decode head whose only output in training is the "
        f"class map, got {type(network).__name__} with {type(network.decode_head).__name__}; choose another model, "
        "or leave student.consistency out"
    )
