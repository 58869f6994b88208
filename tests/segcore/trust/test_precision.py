import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, t

from segcore.trust.precision import (
    cautious_precision,
    effective_images,
    expected_precision,
    precision,
    precision_bound,
)

TRIALS = 600


def slow_bound(count, correct, error=0.05):
    """Korn and Graubard's bound, its size at most Kish's, step by step."""
    num, total = len(count), count.sum()
    point = correct.sum() / total
    kish = total**2 / (count**2).sum()
    variance = num / (num - 1) * sum((right - point * all_) ** 2 for all_, right in zip(count, correct, strict=True))
    size = kish
    if variance > 0:
        few = (t.ppf(error, num - 1) / t.ppf(error, 1e9)) ** 2
        size = min(kish, point * (1 - point) / (variance / total**2) / few)
    return beta.ppf(error, point * size, size - point * size + 1)


def pixels(*counts):
    return np.array(counts, np.int64)


@pytest.mark.parametrize(("num_images", "proven"), [(6, 0.607), (30, 0.905), (59, 0.950)])
def test_perfect_images_prove_no_more_than_their_number(num_images, proven):
    count = np.full(num_images, 10_000)
    assert precision_bound(count, count) == pytest.approx(proven, abs=5e-4)


def test_images_of_unequal_size_count_for_less():
    count = pixels(1000, 10, 10, 10)
    assert effective_images(count) == pytest.approx(1.06, abs=0.01)
    assert precision_bound(count, count) < precision_bound(pixels(9, 9, 9, 9), pixels(9, 9, 9, 9))


@pytest.mark.parametrize(
    ("count", "correct"),
    [
        ((10, 20, 30, 40), (9, 20, 27, 40)),
        ((100, 100, 100, 100), (100, 100, 100, 99)),
        ((50, 50, 50, 50, 50), (50, 0, 50, 50, 50)),
        ((1, 900, 30), (0, 850, 30)),
    ],
)
def test_the_bound_is_that_of_korn_and_graubard_with_no_more_images_than_there_are(count, correct):
    found = precision_bound(pixels(*count), pixels(*correct))
    assert found == pytest.approx(slow_bound(np.array(count), np.array(correct)), abs=1e-6)


def test_many_thresholds_are_bounded_at_once_as_each_by_itself():
    rng = np.random.default_rng(0)
    count = rng.integers(0, 50, (7, 5))
    correct = rng.binomial(count, 0.8)
    found = precision_bound(count, correct)
    np.testing.assert_allclose(found, [precision_bound(count[:, k], correct[:, k]) for k in range(5)])


@pytest.mark.parametrize("count", [np.zeros((0, 2), int), np.zeros((3, 2), int)])
def test_without_pixels_nothing_is_proven(count):
    assert precision_bound(count, count).tolist() == [0.0, 0.0]
    assert cautious_precision(count, count).tolist() == [0.0, 0.0]
    assert expected_precision(count[:, 0], count[:, 0]) is None


def test_one_image_proves_next_to_nothing():
    assert precision_bound(pixels(10_000), pixels(10_000)) == pytest.approx(0.05)


def test_the_interval_holds_the_point_and_is_the_bound_from_both_sides():
    count, correct = pixels(10, 20, 30, 40), pixels(9, 20, 27, 40)
    found = expected_precision(count, correct)
    assert found.point == pytest.approx(0.96)
    assert found.low == pytest.approx(float(precision_bound(count, correct)))
    assert found.high == pytest.approx(1 - float(precision_bound(count, count - correct)))
    assert found.low < found.point < found.high


def test_the_cautious_estimate_adds_an_image_that_is_all_wrong():
    assert cautious_precision(pixels(*[5] * 9), pixels(*[5] * 9)) == pytest.approx(0.9)
    assert cautious_precision(pixels(10, 10), pixels(10, 5)) == pytest.approx(15 / 30)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=9))
def test_bounds_lie_in_order(pairs):
    count = pixels(*(max(pair) for pair in pairs))
    correct = pixels(*(min(pair) for pair in pairs))
    if count.sum():
        low, point = precision_bound(count, correct), precision(count, correct)
        assert 0 <= low <= point + 1e-9 <= 1 + 1e-9
        assert precision_bound(count, correct, 0.01) <= low + 1e-9


WORLDS = {
    "images differ": lambda rng, shape: rng.beta(0.93 * 8, 0.07 * 8, shape),
    "one image in ten is all wrong": lambda rng, shape: (rng.random(shape) > 0.1).astype(float),
    "one in thirty is nearly all wrong": lambda rng, shape: np.where(
        rng.random(shape) < 1 / 30, rng.beta(1, 9, shape), rng.beta(60, 1, shape)
    ),
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("num_images", [6, 12, 30, 60, 200])
def test_a_95_percent_bound_holds_at_least_93_times_in_100_with_correlated_pixels(world, num_images):
    rng = np.random.default_rng(num_images)

    def draw(num):
        count = np.exp(rng.normal(7, 0.7, (num, TRIALS))).astype(np.int64) + 1
        return count, rng.binomial(count, WORLDS[world](rng, count.shape))

    everything = draw(2000)
    truth = everything[1].sum() / everything[0].sum()
    assert (precision_bound(*draw(num_images)) <= truth).mean() >= 0.93
