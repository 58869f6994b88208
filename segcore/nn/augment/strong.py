"""The strong set: what makes a pseudo-labelled sample hard, so that its label is worth learning from.

Ranges are those of ST++ (Yang et al. 2022, https://arxiv.org/abs/2106.05095) and UniMatch (Yang et al. 2023,
https://arxiv.org/abs/2208.09910); CutMix is Yun et al. 2019 (https://arxiv.org/abs/1905.04899), cutout DeVries and
Taylor 2017 (https://arxiv.org/abs/1708.04552).
"""

from __future__ import annotations

import numpy as np

from segcore.config.train_schema import StrongConfig
from segcore.nn.augment.colour import grey, jittered, softened
from segcore.nn.augment.example import Box, Example, Image
from segcore.records import IGNORE_INDEX

UNIMATCH = StrongConfig(colour_jitter=0.8, grey=0.2, blur=0.5, cutmix=0.5)  # probabilities
BOX_SHARE = (0.02, 0.4)  # of the image, cut out or mixed in
BOX_RATIO = (0.3, 1 / 0.3)  # height to width


def strong_colour(image: Image, rng: np.random.Generator, chances: StrongConfig = UNIMATCH) -> Image:
    """Return an image with strongly changed colours and sharpness, each part with its probability.

    image: (H, W, 3) uint8 BGR.
    """
    if rng.random() < chances.colour_jitter:
        image = jittered(image, rng)
    if rng.random() < chances.grey:
        image = grey(image)
    return softened(image, rng) if rng.random() < chances.blur else image


def cutmix_box(height: int, width: int, rng: np.random.Generator) -> Box:
    """Return a random box (rows, columns) inside height x width px: 2 to 40 % of it, less where it would not fit."""
    area = rng.uniform(*BOX_SHARE) * height * width
    ratio = rng.uniform(*BOX_RATIO)
    box_height = min(max(round(np.sqrt(area * ratio)), 1), height)
    box_width = min(max(round(np.sqrt(area / ratio)), 1), width)
    top = int(rng.integers(height - box_height + 1))
    left = int(rng.integers(width - box_width + 1))
    return slice(top, top + box_height), slice(left, left + box_width)


def mixed(example: Example, other: Example, rng: np.random.Generator) -> Example:
    """Return an example in which a random box shows what the other one has there, labels and all."""
    box = cutmix_box(min(example.height, other.height), min(example.width, other.width), rng)
    mix = example.mapped(np.copy)
    for own, theirs in zip(mix.arrays, other.arrays, strict=True):
        own[box] = theirs[box]
    return mix


def cut_out(example: Example, rng: np.random.Generator) -> Example:
    """Return an example with a random box filled with noise, and ignored."""
    box = cutmix_box(example.height, example.width, rng)
    image, label_map = example.image.copy(), example.label_map.copy()
    image[box] = rng.integers(0, 256, image[box].shape, dtype=np.uint8)
    label_map[box] = IGNORE_INDEX
    return Example(image, label_map, example.pixel_weight)
