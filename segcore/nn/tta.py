"""Test-time augmentation exactly as mmseg's TestTimeAug pipeline and SegTTAModel do it, batched over images.

For every view: resize keeping proportions (OpenCV, bilinear, on uint8), mirror, normalise, pad right and below as the
model's data preprocessor says, run, cut the padding off, mirror back; then, in segcore/nn/full_size.py, resize logits
to the image's size (bilinear), softmax, and take the mean over views. mmseg 1.x: segmentors/base.py, seg_tta.py.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from segcore.nn.full_size import ViewLogits

Image = NDArray[np.uint8]

MAX_LOGITS_BYTES = 512 << 20  # logits of all views of the images that run together, where one image alone fits


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


def images_per_pass(spec: ViewSpec, num_classes: int) -> int:
    """Return how many images run together: bounded by the largest view's pixels and by the logits of all views."""
    mirrored = 2 if spec.flip else 1
    by_pixels = spec.batch_megapixels * 1e6 / (max(spec.sizes) ** 2 * mirrored)
    by_logits = MAX_LOGITS_BYTES / (4 * num_classes * sum(size**2 for size in spec.sizes) * mirrored)
    return max(1, int(min(by_pixels, by_logits)))


def view_logits(network: BaseSegmentor, images: Sequence[Image], spec: ViewSpec) -> list[ViewLogits]:
    """Return what the network says of each image in each view.

    images: (H, W, 3) uint8 BGR, all of one size. A network that gives NaN raises StepError.
    """
    height, width = images[0].shape[:2]
    views: list[list[Tensor]] = [[] for _ in images]
    flips = (False, True) if spec.flip else (False,)
    for size in spec.sizes:
        inputs = torch.cat([resized(image, view_shape(height, width, size), spec) for image in images])
        logits = forward(network, torch.cat([inputs.flip(3) if flip else inputs for flip in flips]), spec)
        for place, flip in enumerate(flips):
            for index in range(len(images)):
                one = logits[place * len(images) + index][None]
                views[index].append(one.flip(3) if flip else one)
    return [ViewLogits(of_image, (height, width), bool(network.align_corners)) for of_image in views]


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
