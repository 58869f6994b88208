"""What makes a training faster without changing what it computes, rounding aside.

Everything here changes one network object in place; names and values of its parameters stay, so that checkpoints,
copies and the published student know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from mmseg.models import BaseSegmentor
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from segcore.nn.devices import Precision
from segcore.nn.fast.heads import fuse_decode_head
from segcore.nn.fast.trainable_convolution import TrainableUpsampledConvolution


def speed_up(network: BaseSegmentor, device: str, precision: Precision) -> str:
    """Make a network train faster on its device, in place; return what was done, for the log.

    device: "cpu" or "cuda", where the network is already.
    """
    network.to(memory_format=torch.channels_last)
    if device == "cuda":
        torch.backends.cudnn.benchmark = True  # all crops are of one size
    done = [f"{precision} on {device}", "channels last", "fused AdamW"]
    done.append(fuse_decode_head(network, TrainableUpsampledConvolution))
    for head in heads_of(network):
        skip_accuracy(head)
    return ", ".join(filter(None, done))


def fused_adamw(groups: list[dict[str, Any]], lr: float) -> torch.optim.AdamW:
    """Return AdamW that updates all parameters in one pass."""
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def heads_of(network: BaseSegmentor) -> Iterator[nn.Module]:
    """Yield decode and auxiliary heads."""
    for name in ("decode_head", "auxiliary_head"):
        found = getattr(network, name, None)
        yield from found if isinstance(found, nn.ModuleList) else [found] if found is not None else []


def skip_accuracy(head: nn.Module) -> None:
    """Let a head compute its losses without the accuracy that mmseg adds for its own log: a topk over all pixels.

    A head with a loss function of its own is left as it is.
    """
    if getattr(type(head), "loss_by_feat", None) is BaseDecodeHead.loss_by_feat:
        head.loss_by_feat = partial(losses, head)  # type: ignore[assignment]


def losses(head: BaseDecodeHead, logits_NCHW: Tensor, samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
    """Return a head's losses by name, at the size of the label maps; those of one name are summed."""
    labels_N1HW = torch.stack([sample.gt_sem_seg.data for sample in samples])
    logits = resize(logits_NCHW, size=labels_N1HW.shape[2:], mode="bilinear", align_corners=head.align_corners)
    weight = head.sampler.sample(logits, labels_N1HW) if head.sampler is not None else None
    found: dict[str, Tensor] = {}
    for loss in head.loss_decode if isinstance(head.loss_decode, nn.ModuleList) else [head.loss_decode]:
        name = str(loss.loss_name)
        value = loss(logits, labels_N1HW.squeeze(1), weight=weight, ignore_index=head.ignore_index)
        found[name] = found[name] + value if name in found else value
    return found
