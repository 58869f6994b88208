import numpy as np
import pytest

from segcore.trust.bootstrap import (
    areas_of,
    draws_needed,
    draws_of,
    interval,
    iou_of,
    paired_draws,
    student_t,
    swap_test,
    widened_tail,
)

COUNTS = np.array([[[6, 2], [0, 2]], [[3, 0], [0, 0]]], dtype=np.int64)
BOTH = np.array([True, True])


def test_areas_are_hits_and_unions_counted_by_hand():
    areas = areas_of(COUNTS, BOTH)
    assert areas.tolist() == [[[6, 2], [8, 4]], [[3, 0], [3, 0]]]
    np.testing.assert_allclose(iou_of(areas.sum(axis=0)), [9 / 11, 2 / 4])


def test_a_class_that_one_image_shows_is_in_every_resample():
    draws = draws_of(areas_of(COUNTS, BOTH), 500, np.random.default_rng(0))
    assert draws.shape == (500, 2)
    assert np.isfinite(draws).all()
    np.testing.assert_allclose(draws[:, 1], 0.5)


def test_pairs_see_the_same_weights():
    areas = areas_of(COUNTS, BOTH)
    draws = paired_draws(areas, areas, 700, np.random.default_rng(0))
    assert (draws.base == draws.other).all()


@pytest.mark.parametrize(
    ("probability", "degrees", "quantile"),
    [(0.95, 1, 6.314), (0.975, 2, 4.303), (0.99, 3, 4.541), (0.975, 5, 2.571), (0.99, 9, 2.821), (0.975, 100, 1.984)],
)
def test_quantiles_of_student_t_are_those_of_the_tables(probability, degrees, quantile):
    assert student_t(probability, degrees) == pytest.approx(quantile, rel=0.01)


def test_few_images_widen_the_interval_and_many_do_not():
    assert widened_tail(0.025, 5) < widened_tail(0.025, 20) < widened_tail(0.025, 5000) < 0.025
    assert widened_tail(0.025, 5000) == pytest.approx(0.025, rel=0.01)
    assert draws_needed(2000, 0.025, 1000) == 2000
    assert draws_needed(100, 0.001, 3) == 20_000


def test_one_image_tells_nothing_of_the_spread():
    assert interval(0.3, np.full(10, 0.3), 0.025, 1, 1.0).low == -1.0


@pytest.mark.parametrize("num_images", [8, 30])
def test_the_95_percent_interval_of_a_mean_covers_the_truth_about_95_times_in_100(num_images):
    covered = 0
    for trial in range(400):
        rng = np.random.default_rng([num_images, trial])
        hits = rng.beta(4, 2, num_images)[:, None, None] * 1000.0
        areas = np.concatenate([hits, np.full_like(hits, 1000.0)], axis=1)
        draws = draws_of(areas, 1000, rng).mean(axis=1)
        found = interval(float(hits.mean() / 1000), draws, 0.025, num_images, 1.0)
        covered += found.low <= 4 / 6 <= found.high
    assert 0.93 <= covered / 400 <= 0.98


def test_the_swap_test_counts_the_swaps_that_gain_as_much():
    base = np.tile([[[1.0], [2.0]]], (3, 1, 1))
    other = np.tile([[[2.0], [2.0]]], (3, 1, 1))
    chance_gain, chance_loss = swap_test(base, other, 4000, np.random.default_rng(0))
    assert chance_gain == pytest.approx(1 / 8, abs=0.02)
    assert chance_loss == 1.0


def test_equal_models_gain_nothing_under_any_swap():
    areas = areas_of(COUNTS, BOTH)
    assert swap_test(areas, areas, 100, np.random.default_rng(0)) == (1.0, 1.0)
