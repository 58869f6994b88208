"""Augmentation of training samples with a generator of their own: resize, crop, flip, photometric distortion.

The order and ranges are those common in mmsegmentation configs; the photometric part follows Liu et al. 2016 (SSD,
https://arxiv.org/abs/1512.02325, section 2.2). mmseg's own transforms draw from global generators, which workers
and resuming would disturb.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.config.train_schema import AugmentConfig
from segcore.records import IGNORE_INDEX

Image = NDArray[np.uint8]
LabelMap = NDArray[np.uint8]

CROP_TRIES = 10
BRIGHTNESS = 32  # added, in grey levels
CONTRAST = (0.5, 1.5)
SATURATION = (0.5, 1.5)
HUE_DEGREES = 18


@dataclass(frozen=True)
class Augmentation:
    """What is done to every sample. size: the crop's side and the longer image side at scale 1, px."""

    size: int
    config: AugmentConfig

    def __call__(self, image: Image, label_map: LabelMap, rng: np.random.Generator) -> tuple[Image, LabelMap]:
        """Return an augmented sample.

        image: (H, W, 3) uint8 BGR. label_map: (H, W) uint8, 255 ignored. Returns arrays at most size px high and wide.
        """
        image, label_map = resized(image, label_map, self.size * rng.uniform(*self.config.scale_range))
        image, label_map = self.cropped(image, label_map, rng)
        if rng.random() < self.config.flip:
            image, label_map = image[:, ::-1], label_map[:, ::-1]
        if self.config.photometric:
            image = distorted(image, rng)
        return np.ascontiguousarray(image), np.ascontiguousarray(label_map)

    def cropped(self, image: Image, label_map: LabelMap, rng: np.random.Generator) -> tuple[Image, LabelMap]:
        """Return a random crop, drawn again up to 10 times while one class covers more than crop_max_share of it."""
        height, width = label_map.shape
        for _ in range(CROP_TRIES):
            top = int(rng.integers(max(height - self.size, 0) + 1))
            left = int(rng.integers(max(width - self.size, 0) + 1))
            window = (slice(top, top + self.size), slice(left, left + self.size))
            if height <= self.size and width <= self.size:
                break
            if largest_share(label_map[window]) < self.config.crop_max_share:
                break
        return image[window], label_map[window]


def largest_share(label_map: LabelMap) -> float:
    """Return the share of labelled pixels that the largest class covers; 0 where all is ignored."""
    counts = np.bincount(label_map.ravel(), minlength=256)[:IGNORE_INDEX]
    return float(counts.max() / counts.sum()) if counts.any() else 0.0


def resized(image: Image, label_map: LabelMap, longer_px: float) -> tuple[Image, LabelMap]:
    """Resize a sample to a longer side, keeping its proportions."""
    height, width = label_map.shape
    scale = longer_px / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    if size == (width, height):
        return image, label_map
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    # class ids must not be interpolated: 0|8 would give 4
    return np.asarray(scaled, np.uint8), np.asarray(
        cv2.resize(label_map, size, interpolation=cv2.INTER_NEAREST), np.uint8
    )


def distorted(image: Image, rng: np.random.Generator) -> Image:
    """Change brightness, contrast, saturation and hue, each with probability one half, in one pass each.

    image: (H, W, 3) uint8 BGR. Returns the same shape and dtype.
    """
    contrast = rng.uniform(*CONTRAST) if rng.random() < 0.5 else 1.0
    brightness = rng.uniform(-BRIGHTNESS, BRIGHTNESS) if rng.random() < 0.5 else 0.0
    saturation = rng.uniform(*SATURATION) if rng.random() < 0.5 else 1.0
    hue = int(rng.integers(-HUE_DEGREES, HUE_DEGREES + 1)) if rng.random() < 0.5 else 0
    if contrast != 1.0 or brightness != 0.0:
        levels = np.arange(256) * contrast + brightness
        image = np.asarray(cv2.LUT(image, levels.clip(0, 255).astype(np.uint8)), np.uint8)
    if saturation != 1.0 or hue != 0:
        image = recoloured(image, saturation, hue)
    return image


def recoloured(image: Image, saturation: float, hue: int) -> Image:
    """Scale the saturation and turn the hue (degrees / 2, as OpenCV counts) of a BGR image."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    tables = np.empty((1, 256, 3), np.uint8)
    tables[0, :, 0] = (np.arange(256) + hue) % 180
    tables[0, :, 1] = (np.arange(256) * saturation).clip(0, 255)
    tables[0, :, 2] = np.arange(256)
    return np.asarray(cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2BGR), np.uint8)
