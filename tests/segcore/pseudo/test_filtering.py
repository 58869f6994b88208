import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segcore.config.label_schema import FilterConfig
from segcore.errors import DataError
from segcore.pseudo.confidence import LEVEL_EDGES, NO_LEVEL, level_for
from segcore.pseudo.filtering import filter_prediction
from segcore.pseudo.predictions import Prediction
from segcore.pseudo.thresholds import Thresholds


def cut_at(*tau):
    names = tuple("abc"[: len(tau)])
    return Thresholds(names, "fixed", 1, tau, tuple(map(level_for, tau)), (None,) * len(tau), (None,) * len(tau))


def grid(text):
    """Rows of class digits; '.' is ignore."""
    return np.array([[255 if sign == "." else int(sign) for sign in row] for row in text.split()], np.uint8)


def filtered(label_map, confidence=None, cut=None, **fields):
    levels = np.full(label_map.shape, 200, np.uint8) if confidence is None else confidence
    cut = cut or cut_at(0.5, 0.5, 0.5)
    return filter_prediction(Prediction("x", label_map, levels), cut, FilterConfig(**fields)).label_map


def test_each_class_has_its_own_threshold_and_what_is_under_it_is_ignore():
    levels = np.array([[36, 37, 36, 37]], np.uint8)
    assert filtered(grid("0011"), levels, cut_at(0.9, 0.89)).tolist() == grid(".011").tolist()


def test_a_class_that_no_level_reaches_keeps_nothing_however_sure():
    levels = np.array([[255, 255]], np.uint8)
    assert level_for(1.0) == NO_LEVEL
    assert filtered(grid("01"), levels, cut_at(1.0, float(LEVEL_EDGES[255]))).tolist() == grid(".1").tolist()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 9999), st.tuples(*[st.integers(0, 256)] * 3))
def test_a_pixel_is_kept_from_the_level_of_its_class_on(seed, first_kept):
    label_map, levels = np.random.default_rng(seed).integers(0, (3, 256), (4, 5, 2), np.uint8).transpose(2, 0, 1)
    cut = Thresholds(tuple("abc"), "fixed", 1, (0.5,) * 3, first_kept, (None,) * 3, (None,) * 3)
    expected = np.where(levels >= np.array(first_kept)[label_map], label_map, 255)
    assert filtered(label_map, levels, cut).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("boundary_px", "expected"), [(0, "00001111 00001111"), (1, "000..111 000..111"), (2, "00....11 00....11")]
)
def test_the_boundary_band_is_its_width_wide_on_both_sides(boundary_px, expected):
    assert filtered(grid("00001111 00001111"), boundary_px=boundary_px).tolist() == grid(expected).tolist()


def test_the_edge_of_the_image_is_no_boundary():
    assert (filtered(np.zeros((3, 3), np.uint8), boundary_px=2) == 0).all()


@pytest.mark.parametrize(
    ("min_px", "expected"),
    [
        (0, "1000 0100 0002"),
        (1, "1000 0100 0002"),
        (2, "1000 0100 000."),
        (3, ".000 0.00 000."),
    ],
)
def test_small_components_are_ignored_and_diagonal_neighbours_are_one(min_px, expected):
    assert filtered(grid("1000 0100 0002"), min_component_px=min_px).tolist() == grid(expected).tolist()


def test_components_are_measured_after_the_threshold():
    levels = np.array([[200, 0, 200, 200]], np.uint8)
    assert filtered(grid("1111"), levels, min_component_px=2).tolist() == grid("..11").tolist()


@pytest.mark.parametrize(
    ("min_score", "expected"), [(0.0, "11022 11000"), (0.6, "11022 11000"), (0.8, "..022 ..000"), (0.95, "..0.. ..000")]
)
def test_components_that_are_unsure_on_the_mean_are_ignored(min_score, expected):
    sure, half, high = (level_for(value) for value in (0.99, 0.55, 0.91))
    levels = np.array([[sure, half, sure, high, high], [half, sure, sure, sure, sure]], np.uint8)  # bottle: 0.77
    found = filtered(grid("11022 11000"), levels, min_component_score=min_score)
    assert found.tolist() == grid(expected).tolist()


def test_without_unsure_components_the_others_stay_with_their_sums():
    prediction = Prediction("x", grid("1002"), np.array([[20, 99, 99, 80]], np.uint8))
    label = filter_prediction(prediction, cut_at(0.5, 0.5, 0.5), FilterConfig(min_component_score=0.9))
    assert label.components.class_id.tolist() == [0, 2, 255]
    assert label.confidence == pytest.approx([2 * LEVEL_EDGES[99], LEVEL_EDGES[80], LEVEL_EDGES[20]])


def test_a_class_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="x: predicted class ids must be under 1, got 1"):
        filtered(grid("01"), cut=cut_at(0.5))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 9999), st.integers(0, 3), st.integers(0, 6))
def test_filtering_only_ever_turns_pixels_into_ignore(seed, boundary_px, min_px):
    random = np.random.default_rng(seed)
    label_map = random.integers(0, 3, (6, 7), np.uint8)
    levels = random.integers(0, 40, (6, 7), np.uint8)
    result = filtered(label_map, levels, boundary_px=boundary_px, min_component_px=min_px)
    kept = result != 255
    assert (result[kept] == label_map[kept]).all()
    assert (levels[kept] >= level_for(0.5)).all()
