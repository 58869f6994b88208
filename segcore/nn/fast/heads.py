"""Decode heads that convolve upsampled maps, made to convolve where the maps are small.

Only mmseg's own classes, by their exact type: a subclass may compute something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mmcv.cnn import ConvModule
from mmseg.models import BaseSegmentor
from mmseg.models.decode_heads import PSPHead, SegformerHead, UPerHead
from mmseg.models.utils import resize
from torch import Tensor, nn

from segcore.nn.fast.upsampled_convolution import UpsampledConvolution, suits

Features = Sequence[Tensor]


Replacement = Callable[[nn.Conv2d, Sequence[int], bool], nn.Module]  # convolution, channels of maps, align_corners


def fuse_decode_head(network: BaseSegmentor, replacement: Replacement = UpsampledConvolution) -> str:
    """Let the decode head convolve before it upsamples, in place; return what was done, "" if nothing could be.

    replacement: makes what stands for a convolution from then on; the default is for inference only.
    """
    head = network.decode_head
    fuse = FUSIONS.get(type(head))
    fused = fuse is not None and fuse(head, replacement)
    return f"{type(head).__name__} convolves before it upsamples" if fused else ""


def fuse_uper_head(head: UPerHead, replacement: Replacement) -> bool:
    """Change a UPerHead in place, if its convolutions are of the usual kind, and return whether they are."""
    if not (convolves_only(head.bottleneck) and convolves_only(head.fpn_bottleneck)):
        return False
    levels = [head.channels] * len(head.in_channels)
    pooled = pyramid_channels(head, head.in_channels[-1])
    head.bottleneck.conv = replacement(head.bottleneck.conv, pooled, head.align_corners)
    head.fpn_bottleneck.conv = replacement(head.fpn_bottleneck.conv, levels, head.align_corners)
    head.forward = partial(uper_head_forward, head)
    return True


def fuse_psp_head(head: PSPHead, replacement: Replacement) -> bool:
    """Change a PSPHead in place, if its convolution is of the usual kind, and return whether it is."""
    if not convolves_only(head.bottleneck):
        return False
    pooled = pyramid_channels(head, head.in_channels)
    head.bottleneck.conv = replacement(head.bottleneck.conv, pooled, head.align_corners)
    head.forward = partial(psp_head_forward, head)
    return True


def fuse_segformer_head(head: SegformerHead, replacement: Replacement) -> bool:
    """Change a SegformerHead in place, if it upsamples and convolves in the usual way, and return whether it does."""
    if head.interpolate_mode != "bilinear" or not convolves_only(head.fusion_conv):
        return False
    levels = [head.channels] * len(head.in_channels)
    head.fusion_conv.conv = replacement(head.fusion_conv.conv, levels, head.align_corners)
    head.forward = partial(segformer_head_forward, head)
    return True


FUSIONS: dict[type, Callable[[Any, Replacement], bool]] = {
    UPerHead: fuse_uper_head,
    PSPHead: fuse_psp_head,
    SegformerHead: fuse_segformer_head,
}


def uper_head_forward(head: UPerHead, features: Features) -> Tensor:
    """Return the logits of UPerHead.forward. features: of the backbone, NCHW, finest first."""
    inputs = head._transform_inputs(features)
    laterals = [lateral(x) for lateral, x in zip(head.lateral_convs, inputs[:-1], strict=True)]
    laterals.append(head.bottleneck(pyramid(head, inputs[-1])))
    for level in range(len(laterals) - 1, 0, -1):
        size = laterals[level - 1].shape[2:]
        coarser = resize(laterals[level], size=size, mode="bilinear", align_corners=head.align_corners)
        laterals[level - 1] = (
            laterals[level - 1] + coarser
        )  # not in place: in training the lateral's ReLU needs its own
    maps = [convolution(x) for convolution, x in zip(head.fpn_convs, laterals[:-1], strict=True)]
    return logits_of(head, head.fpn_bottleneck([*maps, laterals[-1]]))


def psp_head_forward(head: PSPHead, features: Features) -> Tensor:
    """Return the logits of PSPHead.forward."""
    return logits_of(head, head.bottleneck(pyramid(head, head._transform_inputs(features))))


def segformer_head_forward(head: SegformerHead, features: Features) -> Tensor:
    """Return the logits of SegformerHead.forward."""
    inputs = head._transform_inputs(features)
    maps = [convolution(x) for convolution, x in zip(head.convs, inputs, strict=True)]
    return logits_of(head, head.fusion_conv(maps))


def pyramid(head: UPerHead | PSPHead, x_NCHW: Tensor) -> list[Tensor]:
    """Return a map and its pooled copies, not upsampled."""
    return [x_NCHW, *(pool(x_NCHW) for pool in head.psp_modules)]


def pyramid_channels(head: UPerHead | PSPHead, in_channels: int) -> list[int]:
    """Return the channels of what `pyramid` gives."""
    return [in_channels] + [head.channels] * len(head.psp_modules)


def logits_of(head: Any, features_NCHW: Tensor) -> Tensor:
    """Return a head's classification of its features, channel by channel: so the softmax at full size is fast."""
    logits: Tensor = head.cls_seg(features_NCHW).contiguous()
    return logits


def convolves_only(module: ConvModule) -> bool:
    """Return whether a ConvModule begins with a plain convolution that can take maps one by one."""
    plain = not (module.with_explicit_padding or module.with_spectral_norm)
    return plain and module.order[0] == "conv" and suits(module.conv)
