from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segcore.config.train_schema import StrongConfig
from segcore.nn.augment.strong import cut_out, cutmix_box, mixed, strong_colour

from .random_examples import followed, noise, shows_its_labels


@settings(max_examples=50)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 1000))
def test_boxes_lie_inside_and_are_never_empty(height: int, width: int, seed: int) -> None:
    rows, columns = cutmix_box(height, width, np.random.default_rng(seed))
    assert 0 <= rows.start < rows.stop <= height
    assert 0 <= columns.start < columns.stop <= width


def test_boxes_cover_2_to_40_percent_of_a_square() -> None:
    rng = np.random.default_rng(0)
    boxes = [cutmix_box(200, 200, rng) for _ in range(300)]
    shares = [(rows.stop - rows.start) * (columns.stop - columns.start) / 200**2 for rows, columns in boxes]
    assert 0.015 < min(shares) < 0.05
    assert 0.35 < max(shares) <= 0.41


def test_mixing_brings_pixels_labels_and_weights_of_the_other_one_and_changes_neither() -> None:
    one, other = followed(40, 40), noise(30, 50)
    found = mixed(one, other, np.random.default_rng(0))
    taken = found.label_map != one.label_map
    assert 0 < taken.sum() < 0.5 * taken.size
    rows, columns = np.nonzero(taken)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    for own, theirs in zip(found.arrays, other.arrays, strict=True):
        assert np.array_equal(own[box], theirs[box])
    assert shows_its_labels(one)
    assert np.array_equal(other.label_map, noise(30, 50).label_map)


def test_what_is_cut_out_is_ignored_and_everything_else_is_left() -> None:
    example = followed(40, 30)
    found = cut_out(example, np.random.default_rng(0))
    gone = found.label_map == 255
    assert 0.01 < gone.mean() < 0.5
    assert not np.array_equal(found.image[gone], example.image[gone])
    assert np.array_equal(found.image[~gone], example.image[~gone])
    assert np.array_equal(found.label_map[~gone], example.label_map[~gone])


def test_strong_colours_happen_as_often_as_they_are_told_to() -> None:
    image = noise(8, 8).image
    rng = np.random.default_rng(0)
    changed = [not np.array_equal(strong_colour(image, rng, StrongConfig(grey=0.25)), image) for _ in range(200)]
    assert 0.15 < np.mean(changed) < 0.35
    assert np.array_equal(strong_colour(image, rng, StrongConfig()), image)
