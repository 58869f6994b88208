"""Test-time augmentation exactly as mmseg's TestTimeAug pipeline and SegTTAModel do it, batched over images.

For every view: resize keeping proportions (OpenCV, bilinear, on uint8), mirror, normalise, pad right and below as the
model's data preprocessor says, run, cut the padding off; then, in segcore/nn/full_size.py, resize logits to the
image's size (bilinear), softmax, mirror back, and take the mean over views. mmseg 1.x: segmentors/base.py, seg_tta.py.
Images of any sizes run together where their padded views have one shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from segcore.nn.devices import Precision
from segcore.nn.full_size import LogitRows, View, ViewLogits, WholeLogits
from segcore.nn.passes import PassBudget
from segcore.nn.teacher import Teacher
from segcore.nn.windows import WindowedLogits, needs_windows

Image = NDArray[np.uint8]

DEVICE_RESIZE_PX = 32_000_000  # larger images are resized by OpenCV in any case: as float32 they take 12 bytes a pixel


@dataclass(frozen=True)
class ViewSpec:
    """All views of an image and how they are computed.

    resize: "opencv" reproduces mmseg to rounding; "device" resizes there, without a copy per view. Both interpolate
    bilinearly without antialiasing; OpenCV's fixed-point numbers come out one level of 256 lower in an eighth of all.
    """

    sizes: tuple[int, ...]
    flip: bool
    resize: str
    precision: Precision
    device: str

    @property
    def num_flips(self) -> int:
        """Return how often each size is run: 2 with the mirror image."""
        return 2 if self.flip else 1


def one_view(spec: ViewSpec) -> ViewSpec:
    """Return the one view in which earlier checkpoints look at an image: the middle size, of two the smaller.

    They are asked where they differ from the last one, not how well they do. Of the default views and mirror images
    the middle one costs a twelfth for each checkpoint, the largest would cost a quarter.
    """
    return replace(spec, sizes=(sorted(spec.sizes)[(len(spec.sizes) - 1) // 2],), flip=False)


def view_shape(height: int, width: int, size: int) -> tuple[int, int]:
    """Return (height, width), at least 1, of a view whose longer side is size px, rounded as mmcv.imrescale rounds."""
    scale = size / max(height, width)
    return max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)


def view_logits(
    teachers: Sequence[Teacher], images: Sequence[Image], spec: ViewSpec, budget: PassBudget
) -> list[ViewLogits]:
    """Return what the teachers say of each image in each view. images: (H, W, 3) uint8 BGR, of any sizes.

    Logits of large views are not there yet: they are computed while the result is read.
    """
    views: list[list[View]] = [[] for _ in images]
    sources = [uploaded(image, spec) for image in images]
    for size in spec.sizes:
        shapes = [view_shape(image.shape[0], image.shape[1], size) for image in images]
        whole = [index for index, shape in enumerate(shapes) if not needs_windows(shape)]
        pixels = [resized(sources[index], shapes[index], spec.device) for index in whole]
        for teacher in teachers:
            for index, logits in zip(whole, forward(teacher, spec, budget, pixels), strict=True):
                views[index].append(View(WholeLogits(logits), teacher))
        for index in sorted(set(range(len(images))) - set(whole)):
            large = resized(images[index], shapes[index], "cpu")
            views[index] += [View(in_windows(teacher, spec, budget, large), teacher) for teacher in teachers]
    return [ViewLogits(found, image.shape[:2]) for found, image in zip(views, images, strict=True)]


def in_windows(teacher: Teacher, spec: ViewSpec, budget: PassBudget, pixels: Tensor) -> LogitRows:
    """Return the logits of a large view. pixels: (1, 3, h, w) uint8 BGR in host memory."""
    run = partial(forward, teacher, spec, budget)
    return WindowedLogits(pixels, run, int(teacher.network.out_channels), spec.num_flips, torch.device(spec.device))


def uploaded(image: Image, spec: ViewSpec) -> Image | Tensor:
    """Return an image on the device, (1, 3, H, W) uint8, if it is resized there; else as it is."""
    if spec.resize == "opencv" or image.shape[0] * image.shape[1] > DEVICE_RESIZE_PX:
        return image
    return to_device(image, spec.device)


def to_device(image: Image, device: str) -> Tensor:
    """Return an image on a device: (1, 3, H, W) uint8. The caller goes on while a GPU fetches it."""
    pixels = torch.from_numpy(image)
    if device == "cuda":
        pixels = pixels.pin_memory().to(device, non_blocking=True)
    return pixels.permute(2, 0, 1)[None]


def resized(image: Image | Tensor, shape: tuple[int, int], device: str) -> Tensor:
    """Return an image at a view's size on the device: (1, 3, h, w) BGR, 0..255, uint8 or float32.

    image: (H, W, 3) uint8, resized by OpenCV, or (1, 3, H, W) uint8 on the device, resized there.
    """
    if isinstance(image, Tensor):
        small = functional.interpolate(image.float(), size=shape, mode="bilinear", align_corners=False)
        return small.add_(0.5).floor_()  # half a level is rounded up, as OpenCV does
    if image.shape[:2] != shape:  # else even a copy would be felt: a large image at its own scale is run in windows
        image = np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), np.uint8)
    return to_device(image, device)


def forward(teacher: Teacher, spec: ViewSpec, budget: PassBudget, pixels: Sequence[Tensor]) -> list[Tensor]:
    """Return the logits of pictures of any sizes, those of one padded shape run together.

    pixels: (1, 3, h, w) BGR each, 0..255. Returns for each (F, C, h, w) float32, unnormalised: of the picture and, if
    views are mirrored, of its mirror image, still mirrored.
    """
    preprocessor = teacher.network.data_preprocessor
    found: dict[int, Tensor] = {}
    for shape, members in by_padded_shape(preprocessor, pixels).items():
        together = max(1, budget.inputs(*shape) // spec.num_flips)
        for first in range(0, len(members), together):
            batch = members[first : first + together]
            inputs = inputs_of(preprocessor, [pixels[index] for index in batch], shape, spec)
            logits = budget.run(teacher.fast, inputs)
            for index, of_picture in zip(batch, logits.split(spec.num_flips), strict=True):
                _, _, height, width = pixels[index].shape
                found[index] = of_picture[:, :, :height, :width].contiguous()
    return [found[index] for index in range(len(pixels))]


def by_padded_shape(preprocessor: Any, pixels: Sequence[Tensor]) -> dict[tuple[int, int], list[int]]:
    """Return the places of pictures that can run together, by their (height, width) when padded."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, picture in enumerate(pixels):
        height, width = picture.shape[2:]
        below, right = padding(preprocessor, height, width)
        groups.setdefault((height + below, width + right), []).append(index)
    return groups


def inputs_of(preprocessor: Any, pictures: Sequence[Tensor], shape: tuple[int, int], spec: ViewSpec) -> Tensor:
    """Return what the network gets of pictures: (N x F, 3, *shape) float32, normalised, mirrored, padded.

    pictures: (1, 3, h, w) BGR each, 0..255, no larger than shape.
    """
    pad_value = float(getattr(preprocessor, "pad_val", 0))
    inputs = torch.empty(
        (len(pictures) * spec.num_flips, 3, *shape), device=spec.device, memory_format=torch.channels_last
    ).fill_(pad_value)
    for index, picture in enumerate(pictures):
        place = inputs[index * spec.num_flips :, :, : picture.shape[2], : picture.shape[3]]
        normalise(preprocessor, picture.to(spec.device), place[:1])
        if spec.flip:
            place[1:2] = place[:1].flip(3)
    return inputs


def normalise(preprocessor: Any, pixels_1CHW: Tensor, out: Tensor) -> None:
    """Write BGR pixels to out as the data preprocessor gives them to its network."""
    if preprocessor._channel_conversion:
        pixels_1CHW = pixels_1CHW.flip(1)
    if preprocessor._enable_normalize:
        torch.sub(pixels_1CHW, preprocessor.mean, out=out).div_(preprocessor.std)
    else:
        out.copy_(pixels_1CHW)


def padding(preprocessor: Any, height: int, width: int) -> tuple[int, int]:
    """Return how many pixels test_cfg of the data preprocessor adds below and at the right."""
    test_cfg = getattr(preprocessor, "test_cfg", None) or {}
    divisor = test_cfg.get("size_divisor") or 1
    full_height, full_width = test_cfg.get("size") or (0, 0)
    return max(-height % divisor, full_height - height, 0), max(-width % divisor, full_width - width, 0)
