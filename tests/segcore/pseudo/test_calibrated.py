import numpy as np
import pytest

from segcore.pseudo.calib_counts import ClassCounts
from segcore.pseudo.calibrated import calibrated_cut, start_level
from segcore.pseudo.confidence import LEVEL_EDGES, NO_LEVEL
from segcore.trust.precision import precision, precision_bound


def counts_of(by_level, num_images):
    """Equal images. by_level: level -> (pixels, of them right)."""
    cells = np.zeros((2, num_images, 256), np.int64)
    for level, (count, correct) in by_level.items():
        cells[0, :, level], cells[1, :, level] = count, correct
    reaching = cells[:, :, ::-1].cumsum(axis=2)[:, :, ::-1]
    return ClassCounts(*reaching)


def cut_of(counts, target, pooled=None):
    """The cut of a class that is the only one, or has others beside it."""
    return calibrated_cut(counts, pooled or counts, target)


SURE_AND_RIGHT = {20: (100, 40), 60: (100, 95), 100: (100, 100)}


def test_the_lowest_tau_that_many_images_prove_is_promised():
    cut = cut_of(counts_of(SURE_AND_RIGHT, 200), 0.9)
    assert (cut.promise, cut.level, cut.tau) == ("promised", 21, pytest.approx(LEVEL_EDGES[21]))


def test_fewer_images_prove_less():
    levels = [cut_of(counts_of(SURE_AND_RIGHT, num), 0.9).level for num in (200, 40, 30)]
    assert levels == [21, 61, 61]


@pytest.mark.parametrize(("num_images", "promise"), [(30, "promised"), (29, "no promise"), (9, "no promise")])
def test_under_thirty_images_there_is_no_promise(num_images, promise):
    assert cut_of(counts_of({100: (50, 50)}, num_images), 0.8).promise == promise


@pytest.mark.parametrize(("num_images", "promise"), [(9, "no promise"), (8, "not labelled"), (0, "not labelled")])
def test_with_too_few_images_for_a_cautious_estimate_the_class_is_not_labelled(num_images, promise):
    cut = cut_of(counts_of({100: (50, 50)}, num_images), 0.9)
    assert cut.promise == promise
    assert (cut.level == NO_LEVEL) == (promise == "not labelled") == (cut.tau == 1.0)


@pytest.mark.parametrize(
    ("own", "num_images", "pooled", "level"),
    [
        ({100: (50, 50), 50: (50, 50)}, 4, {100: (9, 9), 50: (9, 9)}, 0),
        ({100: (50, 50), 50: (50, 50)}, 4, {100: (9, 9), 50: (9, 1)}, 51),
        ({100: (50, 50), 50: (50, 20)}, 4, {100: (9, 9), 50: (9, 9)}, 51),
        ({100: (50, 50)}, 2, {100: (9, 9)}, NO_LEVEL),
        ({100: (50, 50)}, 4, {100: (9, 5)}, NO_LEVEL),
        ({100: (50, 48)}, 20, {100: (9, 9)}, 0),
        ({100: (50, 46)}, 20, {100: (9, 9)}, NO_LEVEL),
    ],
    ids=[
        "both right", "others wrong below", "own wrong below", "on two images", "others wrong",
        "enough of its own", "enough of its own, which are wrong too often",
    ],
)  # fmt: skip
def test_a_class_on_too_few_images_is_estimated_by_all_classes_unless_its_own_pixels_speak_against_it(
    own, num_images, pooled, level
):
    cut = cut_of(counts_of(own, num_images), 0.9, counts_of(pooled, 40))
    assert cut.level == level
    assert cut.promise == ("not labelled" if level == NO_LEVEL else "no promise")


def test_a_class_that_is_wrong_too_often_is_not_labelled():
    assert cut_of(counts_of({50: (50, 20)}, 300), 0.9).promise == "not labelled"


def test_the_sequence_of_tests_ends_at_the_first_failure_even_if_a_laxer_tau_would_pass():
    bad_in_between = {20: (2000, 2000), 60: (100, 10), 100: (900, 900)}
    cut = cut_of(counts_of(bad_in_between, 200), 0.9)
    assert (cut.promise, cut.level) == ("promised", 61)


def test_the_sequence_starts_where_the_surest_third_ends_whatever_is_right():
    right, wrong = (counts_of({10: (70, n), 90: (29, n), 120: (1, 0)}, 3) for n in (29, 0))
    assert start_level(right.count) == start_level(wrong.count) == 90


def world_at(rng, num_images):
    """One image in nine is all wrong, whatever the confidence: precision is 0.889 at every threshold."""
    surest = rng.normal(90, 12, (num_images, 1))
    pixels = np.exp(-(((np.arange(256) - surest) / 25) ** 2) / 2)
    count = rng.poisson(pixels * np.exp(rng.normal(3, 0.5, (num_images, 1))))
    correct = count * (rng.random((num_images, 1)) > 1 / 9)
    return ClassCounts(*(np.cumsum(c[:, ::-1], axis=1)[:, ::-1].astype(np.int64) for c in (count, correct)))


@pytest.mark.parametrize("num_images", [30, 60, 200])
def test_at_most_7_promises_in_100_are_broken_where_every_threshold_falls_just_short(num_images):
    rng = np.random.default_rng(num_images)
    promises = [cut_of(world_at(rng, num_images), 0.9).promise for _ in range(200)]
    assert promises.count("promised") / 200 <= 0.07


def test_whatever_is_promised_has_its_bound_at_the_target():
    rng = np.random.default_rng(1)
    for _ in range(30):
        counts = world_at(rng, 60)
        cut = cut_of(counts, 0.8)
        if cut.promise == "promised":
            at_cut = counts.count[:, cut.level], counts.correct[:, cut.level]
            assert precision_bound(*at_cut) >= 0.8
            assert precision(*at_cut) >= 0.8
