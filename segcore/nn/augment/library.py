"""One of three blurs, by Albumentations. Imported only where a config asks for it: that takes two seconds."""

from __future__ import annotations

import os
import random
from functools import cache
from typing import Any

import numpy as np

from segcore.nn.augment.example import Image


def blurred(image: Image, rng: np.random.Generator) -> Image:
    """Return an image blurred with a random box, Gaussian or motion kernel. image: (H, W, 3) uint8 BGR."""
    one_of = one_of_blurs()
    seeds = rng.integers(2**63, size=2)
    generator, python = np.random.default_rng(seeds[0]), random.Random(int(seeds[1]))
    for transform in (one_of, *one_of.transforms):
        transform.set_random_state(generator, python)
    return np.asarray(one_of(image=image)["image"], np.uint8)


@cache
def one_of_blurs() -> Any:
    """Return the transform; its random state is set before each use."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else importing it asks a server for newer versions
    import albumentations

    blurs = [albumentations.Blur(p=1), albumentations.GaussianBlur(p=1), albumentations.MotionBlur(p=1)]
    return albumentations.OneOf(blurs, p=1)
