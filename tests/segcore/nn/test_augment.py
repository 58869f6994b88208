from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segcore.config.train_schema import AugmentConfig
from segcore.nn.augment import Augmentation, distorted, largest_share, recoloured, resized

NONE = AugmentConfig(scale_range=(1.0, 1.0), flip=0.0, photometric=False)


def sample(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), rng.choice(
        np.array([0, 1, 8, 255], np.uint8), (height, width)
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(20, 150), st.integers(20, 150), st.integers(0, 100))
def test_augmented_samples_fit_the_crop_and_invent_no_class(height: int, width: int, seed: int) -> None:
    image, label_map = Augmentation(64, AugmentConfig())(*sample(height, width), np.random.default_rng(seed))
    assert image.shape == (*label_map.shape, 3)
    assert max(label_map.shape) <= 64
    assert set(np.unique(label_map)) <= {0, 1, 8, 255}
    assert image.flags.c_contiguous
    assert label_map.flags.c_contiguous


def test_equal_generators_give_equal_samples_and_others_do_not() -> None:
    augmentation = Augmentation(64, AugmentConfig())
    runs = [augmentation(*sample(90, 80), np.random.default_rng(seed))[0] for seed in (3, 3, 4)]
    assert np.array_equal(runs[0], runs[1])
    assert runs[0].shape != runs[2].shape or not np.array_equal(runs[0], runs[2])


def test_without_augmentation_a_sample_of_that_size_stays_as_it_is() -> None:
    image, label_map = sample(64, 48)
    found = Augmentation(64, NONE)(image, label_map, np.random.default_rng(0))
    assert np.array_equal(found[0], image)
    assert np.array_equal(found[1], label_map)


def test_flip_mirrors_image_and_label_map_alike() -> None:
    image, label_map = sample(64, 64)
    found = Augmentation(64, NONE.model_copy(update={"flip": 1.0}))(image, label_map, np.random.default_rng(0))
    assert np.array_equal(found[0], image[:, ::-1])
    assert np.array_equal(found[1], label_map[:, ::-1])


def test_crops_avoid_one_class_filling_them() -> None:
    label_map = np.zeros((64, 256), np.uint8)
    label_map[:, 200:] = 1
    image = np.zeros((64, 256, 3), np.uint8)
    shares = []
    for seed in range(60):
        config = NONE.model_copy(update={"scale_range": (4.0, 4.0)})
        _, crop = Augmentation(64, config)(image, label_map, np.random.default_rng(seed))
        shares.append(largest_share(crop))
    assert np.mean(np.array(shares) < 0.9) > 0.5  # one random crop alone would do so in a fifth of the cases


@pytest.mark.parametrize(("values", "expected"), [([255, 255], 0.0), ([0, 255], 1.0), ([0, 0, 1, 255], 2 / 3)])
def test_the_largest_share_does_not_count_ignored_pixels(values: list[int], expected: float) -> None:
    assert largest_share(np.array([values], np.uint8)) == pytest.approx(expected)


def test_resizing_keeps_proportions_and_class_ids() -> None:
    image, label_map = resized(*sample(40, 80), 20)
    assert image.shape == (10, 20, 3)
    assert set(np.unique(label_map)) <= {0, 1, 8, 255}


def test_recolouring_by_nothing_changes_nothing_visible() -> None:
    image, _ = sample(16, 16)
    assert np.abs(recoloured(image, 1.0, 0).astype(int) - image).max() <= 8  # rounding of HSV in 8 bits


def test_distortion_keeps_shape_and_type() -> None:
    image, _ = sample(16, 12)
    for seed in range(10):
        found = distorted(image, np.random.default_rng(seed))
        assert found.shape == image.shape
        assert found.dtype == np.uint8
