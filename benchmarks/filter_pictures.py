"""Drawn predictions that look like a segmentation network's: smooth regions, ragged edges, doubt along them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.pseudo.confidence import quantise
from segcore.pseudo.predictions import Prediction

STRIDE = 4  # a network's logits are this much smaller than the image


def draw_prediction(image_id: str, seed: int, size_px: int, num_classes: int) -> Prediction:
    """Return a prediction of size_px x size_px with background and one to four of the other classes.

    Logits are coarse noise (objects), finer noise and a little of every pixel (ragged edges), made larger linearly;
    confidence is the softmax of the winner.
    """
    rng = np.random.default_rng(seed)
    others = rng.choice(np.arange(1, num_classes), rng.integers(1, min(5, num_classes)), replace=False)
    small_px = size_px // STRIDE
    logits = []
    for bias in (4, *[0] * len(others)):
        small = 7 * noise(rng, 7, small_px) + 1.2 * noise(rng, small_px // 6, small_px) + bias
        small += 0.3 * rng.normal(size=small.shape).astype(np.float32)
        logits.append(cv2.resize(small, (size_px, size_px), interpolation=cv2.INTER_LINEAR))
    logits_CHW = np.stack(logits)
    odds = np.exp(logits_CHW - logits_CHW.max(axis=0)).sum(axis=0)
    classes = np.array([0, *others], np.uint8)
    return Prediction(image_id, classes[logits_CHW.argmax(axis=0)], quantise(1 / odds))


def noise(rng: np.random.Generator, cells: int, size_px: int) -> NDArray[np.float32]:
    """Return smooth normal noise of cells x cells values made size_px x size_px: float32."""
    values = rng.normal(size=(cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(values, (size_px, size_px), interpolation=cv2.INTER_CUBIC))
