from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segcore.config.train_schema import AugmentConfig, StrongConfig
from segcore.nn.augment.augmentation import Augmentation
from segcore.nn.augment.example import Example

from .random_examples import VALUES, noise

NONE = AugmentConfig(scale_range=(1.0, 1.0), flip=0.0, photometric=False)
ALL = AugmentConfig(
    rotate_90=0.5, blur=0.5, strong=StrongConfig(colour_jitter=0.5, grey=0.5, blur=0.5, cutout=0.5, cutmix=0.5)
)


def augmented(config: AugmentConfig, example: Example, seed: int) -> Example:
    rng = np.random.default_rng(seed)
    return Augmentation(64, config).strong(example, lambda: noise(70, 50, int(rng.integers(9))), rng)


@settings(max_examples=30)
@given(st.integers(20, 150), st.integers(20, 150), st.integers(0, 100))
def test_augmented_samples_fit_the_crop_and_invent_no_class(height: int, width: int, seed: int) -> None:
    found = augmented(ALL, noise(height, width), seed)
    assert found.image.shape == (*found.label_map.shape, 3)
    assert found.pixel_weight is not None
    assert found.pixel_weight.shape == found.label_map.shape
    assert max(found.label_map.shape) <= 64
    assert set(np.unique(found.label_map)) <= set(VALUES)
    assert all(array.flags.c_contiguous and array.dtype == np.uint8 for array in found.arrays)


def test_equal_generators_give_equal_samples_and_others_do_not() -> None:
    first, again, other = (augmented(ALL, noise(90, 80), seed) for seed in (3, 3, 4))
    assert all(np.array_equal(one, two) for one, two in zip(first.arrays, again.arrays, strict=True))
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)


def test_without_augmentation_a_sample_of_that_size_stays_as_it_is() -> None:
    example = noise(64, 48)
    found = augmented(NONE, example, 0)
    assert all(np.array_equal(one, two) for one, two in zip(found.arrays, example.arrays, strict=True))
