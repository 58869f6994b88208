import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segcore.config.label_schema import FilterConfig
from segcore.errors import ConfigError
from segcore.pseudo.confidence import LEVEL_EDGES, NO_LEVEL
from segcore.pseudo.histograms import CalibHistogram
from segcore.pseudo.thresholds import Evidence, Thresholds, thresholds

NAMES = ("background", "bottle", "battery")


def histogram(*classes):
    counts = np.zeros((len(classes), 256), np.int64)
    for class_id, cells in enumerate(classes):
        for level, pixels in cells.items():
            counts[class_id, level] = pixels
    return counts


EMPTY = histogram({}, {}, {})
NO_CALIB = CalibHistogram((), *[np.zeros(0, np.int64)] * 5)
TEN = dict.fromkeys(range(20, 120, 10), 1)  # ten pixels at levels 20, 30 … 110


def balanced(counts, round_index=1, calib=NO_CALIB, **fields):
    config = FilterConfig(policy="class_balanced", **({"min_tau": 0.0} | fields))
    return thresholds(config, NAMES, Evidence(counts, calib), round_index)


def calib_of(num_images, *cells):
    """Equal images with the cells (class id, level, pixels, of them right)."""
    columns = (np.tile(column, num_images) for column in np.array(cells, np.int64).T)
    names = tuple(f"{index:03d}" for index in range(num_images))
    return CalibHistogram(names, np.repeat(np.arange(num_images), len(cells)), *columns)


def test_one_fixed_threshold_holds_for_all_classes():
    cut = thresholds(
        FilterConfig(policy="fixed", tau=0.9), NAMES, Evidence(histogram({36: 3, 37: 1}, {}, {}), NO_CALIB), 1
    )
    assert cut.tau == (0.9, 0.9, 0.9)
    assert cut.level == (37, 37, 37)
    assert cut.coverage == (0.25, None, None)


def test_fixed_thresholds_by_name_need_no_order():
    config = FilterConfig(policy="fixed", tau={"battery": 0.5, "background": 0.99, "bottle": 0.9})
    assert thresholds(config, NAMES, Evidence(EMPTY, NO_CALIB), 1).tau == (0.99, 0.9, 0.5)


@pytest.mark.parametrize(
    ("tau", "message"),
    [
        (
            {"background": 0.9, "botle": 0.9, "battery": 0.9},
            "'botle', which .* did you mean 'bottle'",
        ),
        ({"background": 0.9}, "must name every class, got none for bottle, battery"),
    ],
)
def test_a_mapping_that_does_not_fit_the_classes_is_refused(tau, message):
    with pytest.raises(ConfigError, match=message):
        thresholds(FilterConfig(policy="fixed", tau=tau), NAMES, Evidence(EMPTY, NO_CALIB), 1)


def test_class_balanced_keeps_the_same_fraction_of_every_class():
    sure, unsure = {level + 100: pixels for level, pixels in TEN.items()}, TEN
    cut = balanced(histogram(sure, unsure, dict.fromkeys(TEN, 5)), share=0.6)
    assert cut.level == (160, 60, 60)
    assert cut.coverage == pytest.approx((0.6, 0.6, 0.6))
    assert cut.tau == pytest.approx([LEVEL_EDGES[level] for level in cut.level])


@pytest.mark.parametrize(("round_index", "coverage"), [(1, 0.6), (2, 0.7), (3, 0.8), (4, 0.9), (9, 0.9)])
def test_the_share_grows_with_the_rounds_up_to_its_limit(round_index, coverage):
    cut = balanced(histogram(TEN, TEN, TEN), round_index, share=0.6, share_step=0.1, share_max=0.9)
    assert cut.coverage == pytest.approx((coverage,) * 3)


def test_no_threshold_falls_below_min_tau():
    cut = balanced(histogram({3: 10}, {100: 10}, {}), min_tau=0.5)
    assert cut.tau[0] == 0.5
    assert cut.coverage[:2] == (0.0, 1.0)


UNSURE = dict.fromkeys(range(1, 11), 1)  # ten pixels of confidence 0.06 to 0.46


@pytest.mark.parametrize(
    ("calib", "coverage"),
    [
        (calib_of(3, (0, 2, 50, 49)), 0.6),
        (calib_of(3, (0, 8, 50, 49), (0, 7, 9, 0)), 0.3),
        (calib_of(3, (0, 2, 50, 10)), 0.0),
        (calib_of(2, (0, 2, 50, 50)), 0.0),
        (calib_of(3, (1, 2, 50, 50)), 0.0),
        (calib_of(3, (0, 2, 50, 0), (0, 200, 999, 999)), 0.6),
    ],
    ids=["right", "right from a level up", "wrong", "on two images", "of another class", "of all kept, most right"],
)
def test_min_tau_gives_way_as_far_as_calib_is_right_there(calib, coverage):
    cut = balanced(histogram(UNSURE, {}, {}), calib=calib, min_tau=0.5, share=0.6)
    assert cut.coverage[0] == pytest.approx(coverage)


def test_where_the_share_is_reached_above_min_tau_nothing_gives_way():
    calib = calib_of(9, (0, 2, 50, 50))
    assert balanced(histogram(TEN, {}, {}), calib=calib, min_tau=0.5, share=0.6).coverage[0] == pytest.approx(0.6)


def test_target_precision_of_the_class_says_what_is_right_enough():
    calib = calib_of(3, (0, 2, 50, 35))
    targets = {"background": 0.7, "bottle": 0.99, "battery": 0.99}
    cut = balanced(histogram(UNSURE, {}, {}), calib=calib, min_tau=0.5, share=0.6, target_precision=targets)
    assert cut.coverage[0] == pytest.approx(0.6)


def calibrated(calib, **fields):
    config = FilterConfig(policy="calibrated", **fields)
    return thresholds(config, NAMES, Evidence(histogram(TEN, TEN, TEN), calib), 1)


def test_calibrated_says_of_each_class_what_it_promises():
    many, few = calib_of(60, (0, 50, 9, 9)), calib_of(12, (1, 70, 9, 9))
    names = (*many.image_ids, *(f"other {name}" for name in few.image_ids))
    columns = ("class_id", "level", "count", "correct")
    both = CalibHistogram(
        names,
        np.concatenate([many.image_index, few.image_index + 60]),
        *(np.concatenate([getattr(many, name), getattr(few, name)]) for name in columns),
    )
    cut = calibrated(both)
    assert cut.promise == ("promised", "no promise", "not labelled")
    assert cut.level == (0, 0, NO_LEVEL)
    assert cut.coverage == (1.0, 1.0, 0.0)


def test_target_precision_may_differ_by_class():
    calib = calib_of(60, (0, 50, 10, 9), (0, 20, 10, 6), (1, 50, 10, 9), (1, 20, 10, 6))
    cut = calibrated(calib, target_precision={"background": 0.8, "bottle": 0.6, "battery": 0.9})
    assert cut.level[:2] == (21, 0)
    with pytest.raises(ConfigError, match=r"filter\.target_precision must name every class, got none for battery"):
        calibrated(calib, target_precision={"background": 0.8, "bottle": 0.6})


def test_classes_are_told_by_what_they_are_promised():
    cut = calibrated(calib_of(60, (0, 50, 9, 9), (2, 50, 9, 1)))
    assert cut.by_promise() == {"promised": ["background"], "not labelled": ["bottle", "battery"]}
    assert balanced(histogram(TEN, TEN, TEN)).by_promise() == {}


def test_other_policies_promise_nothing():
    assert balanced(histogram(TEN, TEN, TEN)).promise == (None, None, None)


def test_a_class_that_is_never_predicted_keeps_nothing():
    cut = balanced(histogram({100: 10}, {100: 10}, {}))
    assert (cut.tau[2], cut.level[2], cut.coverage[2]) == (1.0, NO_LEVEL, None)


def test_pixels_of_one_level_are_kept_or_dropped_together():
    assert balanced(histogram({200: 10}, {255: 10}, {}), share=0.1).coverage[:2] == (1.0, 1.0)


counts_of_a_class = st.dictionaries(st.integers(0, 255), st.integers(1, 50), max_size=8)


@given(st.tuples(*[counts_of_a_class] * 3), st.floats(0.0, 1.0), st.integers(1, 5))
def test_at_least_the_share_is_kept_and_not_a_level_more_than_needed(cells, share, round_index):
    counts = histogram(*cells)
    cut = balanced(counts, round_index, share=share, share_step=0.0, share_max=1.0)
    for row, level in zip(counts, cut.level, strict=True):
        assert row[level:].sum() >= share * row.sum() - 1e-3
        assert level >= 255 or row[level + 1 :].sum() < share * row.sum()


@given(st.tuples(*[counts_of_a_class] * 3))
def test_thresholds_survive_json(cells):
    cut = balanced(histogram(*cells))
    assert Thresholds.from_json(cut.to_json()) == cut
