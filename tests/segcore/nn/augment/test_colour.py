from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from segcore.nn.augment.colour import colour_matrix, distorted, grey, jittered, recoloured, softened
from segcore.nn.augment.example import Image
from segcore.nn.augment.library import blurred

from .random_examples import noise

RED = np.array([0.0, 0.0, 255.0])  # BGR


@pytest.mark.parametrize("change", [distorted, jittered, softened, blurred])
def test_changes_keep_shape_and_type_and_follow_their_generator_alone(
    change: Callable[[Image, np.random.Generator], Image],
) -> None:
    image = noise(16, 12).image
    first, again, *others = [change(image, np.random.default_rng(seed)) for seed in (3, 3, 4, 5, 6)]
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not all(np.array_equal(first, other) for other in others)


def test_recolouring_by_nothing_changes_nothing_visible() -> None:
    image = noise(16, 16).image
    assert np.abs(recoloured(image, 1.0, 0).astype(int) - image).max() <= 8  # rounding of HSV in 8 bits


def test_the_colour_matrix_changes_nothing_greys_or_turns_and_keeps_brightness() -> None:
    assert colour_matrix(1.0, 0.0) == pytest.approx(np.eye(3), abs=1e-9)
    assert colour_matrix(0.0, 0.3) @ RED == pytest.approx(np.full(3, 0.299 * 255), abs=0.5)
    turned = colour_matrix(1.0, 0.5) @ RED
    assert turned[2] < turned[:2].min()  # red becomes cyan
    assert turned @ [0.114, 0.587, 0.299] == pytest.approx(0.299 * 255, abs=0.5)


def test_a_grey_image_has_three_equal_channels_and_its_brightness() -> None:
    found = grey(np.full((2, 2, 3), RED).astype(np.uint8))
    assert found.tolist() == np.full((2, 2, 3), 76).tolist()
