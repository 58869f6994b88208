import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from segcore.pseudo.confidence import LEVEL_EDGES, quantise
from segcore.trust.temperature import LEVEL_LOGITS, fit_temperature, scaled_levels


def pixels_at(temperature, num=200_000, seed=0):
    """Pixels of a teacher whose confidences are right after scaling by a temperature."""
    rng = np.random.default_rng(seed)
    level = rng.integers(5, 120, num)
    is_right = rng.random(num) < scaled_levels(temperature)[level]
    return np.bincount(level, minlength=256), np.bincount(level[is_right], minlength=256)


def unlikelihood(temperature, count, correct):
    scaled = scaled_levels(temperature)
    return -(correct @ np.log(scaled) + (count - correct) @ np.log1p(-scaled))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7, 4.0])
def test_the_temperature_that_was_put_in_is_found(temperature):
    assert fit_temperature(*pixels_at(temperature)) == pytest.approx(temperature, rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_no_other_temperature_makes_what_is_right_more_likely(seed):
    counts = pixels_at(2.3, 300, seed)
    best = minimize_scalar(unlikelihood, bounds=(0.1, 10), args=counts, method="bounded", options={"xatol": 1e-9})
    assert fit_temperature(*counts) == pytest.approx(best.x, abs=1e-4)


def test_without_errors_or_without_anything_right_the_temperature_ends_at_its_limits():
    count = np.bincount([60] * 9, minlength=256)
    assert fit_temperature(count, count) == pytest.approx(0.1, rel=0.05)
    assert fit_temperature(count, 0 * count) == pytest.approx(10.0, rel=0.05)


def test_without_pixels_confidence_is_left_as_it_is():
    assert fit_temperature(np.zeros(256, np.int64), np.zeros(256, np.int64)) == 1.0


def test_scaling_by_one_gives_a_confidence_of_the_level_itself():
    np.testing.assert_array_equal(quantise(scaled_levels(1.0)), np.arange(256))
    assert (scaled_levels(1.0)[:-1] < LEVEL_EDGES[1:]).all()


def test_scaling_keeps_the_order_and_moves_towards_a_half():
    hot, sure = scaled_levels(2.0), LEVEL_LOGITS > 0
    assert (np.diff(hot) > 0).all()
    assert (hot[sure] < scaled_levels(1.0)[sure]).all()
    assert (hot[sure] > 0.5).all()
