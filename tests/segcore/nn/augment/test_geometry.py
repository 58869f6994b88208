from __future__ import annotations

import albumentations
import numpy as np
import pytest

from segcore.nn.augment.geometry import cropped, flipped, largest_share, resized, turned

from .random_examples import VALUES, followed, noise, shows_its_labels


def test_resizing_keeps_proportions_and_class_ids() -> None:
    found = resized(noise(40, 80), 20)
    assert found.image.shape == (10, 20, 3)
    assert set(np.unique(found.label_map)) <= set(VALUES)
    assert found.pixel_weight is not None
    assert found.pixel_weight.shape == (10, 20)


def test_flip_crop_and_turn_move_labels_and_weights_with_their_pixels() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        found = turned(flipped(cropped(followed(50, 40), 32, 1.0, rng)), rng)
        assert (found.height, found.width) == (32, 32)
        assert shows_its_labels(found)


def test_the_three_turns_are_those_of_albumentations_and_equally_likely() -> None:
    example = noise(4, 3)
    all_turns = [albumentations.RandomRotate90(p=1).apply(example.image, factor) for factor in (1, 2, 3)]
    rng = np.random.default_rng(0)
    found = [turned(example, rng).image for _ in range(90)]
    counts = [sum(np.array_equal(image, turn) for image in found) for turn in all_turns]
    assert sum(counts) == 90
    assert min(counts) > 15


def test_crops_avoid_one_class_filling_them() -> None:
    example = noise(64, 256)
    example.label_map[:] = 0
    example.label_map[:, 200:] = 1
    crops = [cropped(example, 64, 0.9, np.random.default_rng(seed)) for seed in range(60)]
    shares = np.array([largest_share(crop.label_map) for crop in crops])
    assert np.mean(shares < 0.9) > 0.5  # one random crop alone would do so in a quarter of the cases


@pytest.mark.parametrize(("values", "expected"), [([255, 255], 0.0), ([0, 255], 1.0), ([0, 0, 1, 255], 2 / 3)])
def test_the_largest_share_does_not_count_ignored_pixels(values: list[int], expected: float) -> None:
    assert largest_share(np.array([values], np.uint8)) == pytest.approx(expected)
