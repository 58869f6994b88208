"""Test-time augmentation exactly as mmseg's TestTimeAug pipeline and SegTTAModel do it, batched over images.

For every view: resize keeping proportions (OpenCV, bilinear, on uint8), mirror, normalise, pad right and below as the
model's data preprocessor says, run, cut the padding off, mirror back, resize logits to the image's size (bilinear),
softmax. The probabilities are the mean over views. mmseg 1.x: segmentors/base.py, segmentors/seg_tta.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from mmseg.models import BaseSegmentor
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from segcore.errors import StepError
from segcore.nn.devices import Precision, autocast

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class ViewSpec:
    """All views of an image and how they are computed.

    resize: "opencv" reproduces mmseg to rounding; "device" resizes there, without a copy per view.
    batch_megapixels: most pixels of one forward pass, in millions.
    """

    sizes: tuple[int, ...]
    flip: bool
    resize: str
    precision: Precision
    device: str
    batch_megapixels: float


def view_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """Return (height, width), at least 1, of a view whose longer side is size px, rounded as mmcv.imrescale rounds."""
    scale = size / max(height, width)
    return max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)


def mean_probabilities(network: BaseSegmentor, images: Sequence[Image], spec: ViewSpec) -> Iterator[Tensor]:
    """Yield the class probabilities of each image, averaged over all views.

    images: (H, W, 3) uint8 BGR, all of one size. Yields (C, H, W) float32 on spec.device, in [0, 1], one an image.
    A network that gives NaN raises StepError.
    """
    height, width = images[0].shape[:2]
    longest = max(spec.sizes)
    per_pass = max(1, int(spec.batch_megapixels * 1e6 / (longest * longest * (2 if spec.flip else 1))))
    for first in range(0, len(images), per_pass):
        group = images[first : first + per_pass]
        total: list[Tensor] = []
        for size in spec.sizes:
            total = add_views(total, network, group, view_shape(height, width, size), spec)
        num_views = len(spec.sizes) * (2 if spec.flip else 1)
        yield from (probabilities / num_views for probabilities in total)


def add_views(
    total: list[Tensor], network: BaseSegmentor, images: Sequence[Image], shape: tuple[int, int], spec: ViewSpec
) -> list[Tensor]:
    """Return total plus each image's softmax over the views of one size; an empty total counts as zeros."""
    inputs = torch.cat([resized(image, shape, spec) for image in images])
    flips = (False, True) if spec.flip else (False,)
    logits = forward(network, torch.cat([inputs.flip(3) if flip else inputs for flip in flips]), spec)
    size = images[0].shape[:2]
    for place, flip in enumerate(flips):
        for index in range(len(images)):
            one = logits[place * len(images) + index][None]
            probabilities = softmax_at(one.flip(3) if flip else one, size, network.align_corners)
            if len(total) <= index:
                total.append(probabilities)
            else:
                total[index] += probabilities
    return total


def resized(image: Image, shape: tuple[int, int], spec: ViewSpec) -> Tensor:
    """Return an image at a view's size on the device: (1, 3, h, w) float32 BGR, 0..255."""
    if spec.resize == "opencv":
        small = cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(small).to(spec.device).permute(2, 0, 1)[None].float()
    pixels = torch.from_numpy(image).to(spec.device).permute(2, 0, 1)[None].float()
    return functional.interpolate(pixels, size=shape, mode="bilinear", align_corners=False).round()


def forward(network: BaseSegmentor, pixels_NCHW: Tensor, spec: ViewSpec) -> Tensor:
    """Return the logits of a batch at its own size.

    pixels_NCHW: (N, 3, h, w) float32 BGR, 0..255. Returns (N, C, h, w) float32, unnormalised.
    """
    height, width = pixels_NCHW.shape[2:]
    inputs = normalised(network.data_preprocessor, pixels_NCHW)
    inputs = padded(network.data_preprocessor, inputs).contiguous(memory_format=torch.channels_last)
    shape = inputs.shape[2:]
    metas = [{"ori_shape": shape, "img_shape": shape, "pad_shape": shape} for _ in range(len(inputs))]
    with autocast(spec.precision, spec.device):
        logits = network.inference(inputs, metas)
    logits = logits[:, :, :height, :width].float()
    if not bool(torch.isfinite(logits).all()):
        raise StepError("prediction: the checkpoint gives values that are no numbers; its training must have diverged")
    return logits


def normalised(preprocessor: Any, pixels_NCHW: Tensor) -> Tensor:
    """Return BGR pixels as the data preprocessor gives them to its network."""
    if preprocessor._channel_conversion:
        pixels_NCHW = pixels_NCHW.flip(1)
    if preprocessor._enable_normalize:
        pixels_NCHW = (pixels_NCHW - preprocessor.mean) / preprocessor.std
    return pixels_NCHW


def padded(preprocessor: Any, inputs_NCHW: Tensor) -> Tensor:
    """Return inputs padded right and below as test_cfg of the data preprocessor says."""
    test_cfg = getattr(preprocessor, "test_cfg", None) or {}
    height, width = inputs_NCHW.shape[2:]
    divisor = test_cfg.get("size_divisor") or 1
    full_height, full_width = test_cfg.get("size") or (0, 0)
    below = max(-height % divisor, full_height - height, 0)
    right = max(-width % divisor, full_width - width, 0)
    return functional.pad(inputs_NCHW, (0, right, 0, below), value=float(getattr(preprocessor, "pad_val", 0)))


def softmax_at(logits_1CHW: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """Return the probabilities of one view at the image's size: (C, H, W) float32."""
    at_size = functional.interpolate(logits_1CHW, size=tuple(size), mode="bilinear", align_corners=align_corners)
    return at_size[0].softmax(dim=0)


def area_average(probabilities_CHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Return probabilities averaged over the area that each pixel of a smaller map covers.

    probabilities_CHW: (C, H, W) float32. size: (h, w). Returns (C, h, w) float32. Pixels that straddle two areas
    count in both by their shares, so any two sizes work.
    """
    rows = area_weights(probabilities_CHW.shape[1], size[0]).to(probabilities_CHW)
    columns = area_weights(probabilities_CHW.shape[2], size[1]).to(probabilities_CHW)
    return rows @ probabilities_CHW @ columns.T


def area_weights(num_in: int, num_out: int) -> Tensor:
    """Return (num_out, num_in) float32: the share of each output cell that each input cell covers; rows sum to 1."""
    edges_out = np.arange(num_out + 1) * num_in / num_out
    low = np.maximum(edges_out[:-1, None], np.arange(num_in)[None])
    high = np.minimum(edges_out[1:, None], np.arange(1, num_in + 1)[None])
    return torch.from_numpy((np.maximum(high - low, 0) * num_out / num_in).astype(np.float32))
