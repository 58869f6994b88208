"""Examples of noise, whose every pixel can be told from its neighbours."""

from __future__ import annotations

import numpy as np

from segcore.nn.augment.example import Example

VALUES = np.array([0, 1, 8, 255], np.uint8)


def noise(height: int, width: int, seed: int = 0) -> Example:
    rng = np.random.default_rng(seed)
    return Example(
        rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        rng.choice(VALUES, (height, width)),
        rng.integers(0, 256, (height, width), dtype=np.uint8),
    )


def followed(height: int, width: int) -> Example:
    """Return an example whose image shows its labels, and weights too: what is moved must be moved alike."""
    label_map = np.random.default_rng(1).integers(0, 200, (height, width), dtype=np.uint8)
    return Example(np.repeat(label_map[..., None], 3, axis=2), label_map, label_map.copy())


def shows_its_labels(example: Example) -> bool:
    assert example.pixel_weight is not None
    return all(np.array_equal(example.image[..., i], example.label_map) for i in range(3)) and np.array_equal(
        example.pixel_weight, example.label_map
    )
