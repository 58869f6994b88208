import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segcore.errors import StepError
from segcore.pseudo.confidence import LEVEL_EDGES, NO_LEVEL, NUM_LEVELS, count_levels, dequantise, level_for, quantise

probabilities = st.floats(0.0, 1.0, width=32)
taus = st.floats(0.0, 1.0, exclude_min=True)


@pytest.mark.parametrize(
    ("confidence", "level"),
    [(0.0, 0), (0.05, 0), (0.0607, 1), (0.5, 11), (0.9, 36), (0.99, 73), (1.0, 255), (1.0 + 1e-4, 255)],
)
def test_levels_are_floor_of_sixteen_times_minus_log_of_one_minus_p(confidence, level):
    assert quantise(np.array([[confidence]], np.float32)).tolist() == [[level]]


def test_the_table_of_edges_is_the_formula():
    assert len(LEVEL_EDGES) == NUM_LEVELS
    assert dequantise(np.array([0, 16, 255])).tolist() == pytest.approx(
        [0, 1 - math.exp(-1), 1 - math.exp(-255 / 16)], abs=1e-15
    )


@given(probabilities)
def test_a_level_never_claims_more_confidence_than_the_pixel_had(confidence):
    level = quantise(np.array([confidence], np.float32))
    assert level.dtype == np.uint8
    assert dequantise(level)[0] <= np.float32(confidence)


@given(st.integers(0, 255))
def test_quantising_an_edge_gives_its_level_back(level):
    assert quantise(dequantise(np.array([level])))[0] == level
    assert level_for(float(dequantise(np.array([level]))[0])) == level


@given(probabilities, taus)
def test_a_kept_pixel_is_never_under_tau(confidence, tau):
    if quantise(np.array([confidence], np.float32))[0] >= level_for(tau):
        assert np.float32(confidence) >= tau


def test_a_threshold_of_one_keeps_nothing():
    assert level_for(1.0) == NO_LEVEL
    assert not (quantise(np.ones((2, 2), np.float32)) >= level_for(1.0)).any()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 1.5])
def test_what_is_no_probability_is_refused(bad):
    with pytest.raises(StepError, match="must be in \\[0, 1\\]"):
        quantise(np.array([[0.5, bad]], np.float32))


def test_pixels_are_counted_by_predicted_class_and_level():
    label_map, levels = np.array([[[0, 0, 1]], [[7, 7, 255]]], np.uint8)
    histogram = count_levels(label_map, levels, 3)
    assert (histogram.shape, histogram.dtype) == ((3, 256), np.int64)
    assert {tuple(cell): int(histogram[tuple(cell)]) for cell in np.argwhere(histogram).tolist()} == {
        (0, 7): 2,
        (1, 255): 1,
    }
    assert (count_levels(label_map, levels) == histogram[:2]).all()


def test_an_empty_map_has_no_levels():
    assert quantise(np.zeros((0, 3), np.float32)).shape == (0, 3)
