"""Changes of colour and sharpness of one image; labels stay as they are.

Two families: mild photometric distortion for every sample (Liu et al. 2016, SSD, https://arxiv.org/abs/1512.02325,
section 2.2, as in mmsegmentation configs), and the parts of the strong set of segcore/nn/augment/strong.py.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.nn.augment.example import Image

BRIGHTNESS = 32  # added, in grey levels
CONTRAST = (0.5, 1.5)
SATURATION = (0.5, 1.5)
HUE_DEGREES = 18  # in OpenCV's half degrees
LEVELS = np.arange(256)
RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])

# Yang et al. 2022, ST++, https://arxiv.org/abs/2106.05095, section 4.1; UniMatch (Yang et al. 2023) has the same
JITTER = 0.5  # brightness, contrast and saturation: factors from 1 - JITTER to 1 + JITTER
JITTER_TURN = 0.25  # hue: whole turns, to both sides
BLUR_SIGMA_PX = (0.1, 2.0)


def distorted(image: Image, rng: np.random.Generator) -> Image:
    """Change brightness, contrast, saturation and hue, each with probability one half, in one pass each.

    image: (H, W, 3) uint8 BGR. Returns the same shape and dtype.
    """
    contrast = rng.uniform(*CONTRAST) if rng.random() < 0.5 else 1.0
    brightness = rng.uniform(-BRIGHTNESS, BRIGHTNESS) if rng.random() < 0.5 else 0.0
    saturation = rng.uniform(*SATURATION) if rng.random() < 0.5 else 1.0
    hue = int(rng.integers(-HUE_DEGREES, HUE_DEGREES + 1)) if rng.random() < 0.5 else 0
    if contrast != 1.0 or brightness != 0.0:
        image = relevelled(image, contrast, brightness)
    if saturation != 1.0 or hue != 0:
        image = recoloured(image, saturation, hue)
    return image


def relevelled(image: Image, factor: float, offset: float) -> Image:
    """Return factor * image + offset, clipped."""
    return np.asarray(cv2.LUT(image, (LEVELS * factor + offset).clip(0, 255).astype(np.uint8)), np.uint8)


def recoloured(image: Image, saturation: float, hue: int) -> Image:
    """Scale the saturation and turn the hue (degrees / 2, as OpenCV counts) of a BGR image."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    tables = np.empty((1, 256, 3), np.uint8)
    tables[0, :, 0] = (LEVELS + hue) % 180
    tables[0, :, 1] = (LEVELS * saturation).clip(0, 255)
    tables[0, :, 2] = LEVELS
    return np.asarray(cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2BGR), np.uint8)


def jittered(image: Image, rng: np.random.Generator) -> Image:
    """Change brightness, contrast, saturation and hue by random factors, all in one pass over the pixels.

    image: (H, W, 3) uint8 BGR. Contrast is scaled around the mean grey; hue turns in the chroma plane of YIQ, since
    the way through HSV takes twenty times as long.
    """
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, 3)
    change = brightness * contrast * colour_matrix(saturation, rng.uniform(-JITTER_TURN, JITTER_TURN))
    offset = np.full((3, 1), (1 - contrast) * brightness * mean_grey(image))
    return np.asarray(cv2.transform(image, np.hstack([change, offset])), np.uint8)


def colour_matrix(saturation: float, turn: float) -> NDArray[np.float64]:
    """Return the (3, 3) matrix on BGR colours that scales saturation and turns the hue, brightness kept.

    turn: in whole turns.
    """
    sine, cosine = saturation * np.sin(2 * np.pi * turn), saturation * np.cos(2 * np.pi * turn)
    chroma = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    of_rgb: NDArray[np.float64] = np.linalg.inv(RGB_TO_YIQ) @ chroma @ RGB_TO_YIQ
    return of_rgb[::-1, ::-1]


def mean_grey(image: Image) -> float:
    """Return the mean grey level of a BGR image."""
    return float(np.dot(RGB_TO_YIQ[0, ::-1], cv2.mean(image)[:3]))


def grey(image: Image) -> Image:
    """Return a BGR image without its colours, in three channels."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)


def softened(image: Image, rng: np.random.Generator) -> Image:
    """Blur an image with a Gaussian of random width."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(*BLUR_SIGMA_PX)), np.uint8)
