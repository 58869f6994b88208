import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segcore.config.schema import FilterConfig
from segcore.errors import ConfigError
from segcore.pseudo.confidence import LEVEL_EDGES, NO_LEVEL
from segcore.pseudo.thresholds import Thresholds, thresholds

NAMES = ("background", "bottle", "battery")


def histogram(*classes):
    counts = np.zeros((len(classes), 256), np.int64)
    for class_id, cells in enumerate(classes):
        for level, pixels in cells.items():
            counts[class_id, level] = pixels
    return counts


EMPTY = histogram({}, {}, {})
TEN = dict.fromkeys(range(20, 120, 10), 1)  # ten pixels at levels 20, 30 … 110


def balanced(counts, round_index=1, **fields):
    config = FilterConfig(policy="class_balanced", **({"min_tau": 0.0} | fields))
    return thresholds(config, NAMES, counts, round_index)


def test_one_fixed_threshold_holds_for_all_classes():
    cut = thresholds(FilterConfig(policy="fixed", tau=0.9), NAMES, histogram({36: 3, 37: 1}, {}, {}), 1)
    assert cut.tau == (0.9, 0.9, 0.9)
    assert cut.level == (37, 37, 37)
    assert cut.coverage == (0.25, None, None)


def test_fixed_thresholds_by_name_need_no_order():
    config = FilterConfig(policy="fixed", tau={"battery": 0.5, "background": 0.99, "bottle": 0.9})
    assert thresholds(config, NAMES, EMPTY, 1).tau == (0.99, 0.9, 0.5)


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
        thresholds(FilterConfig(policy="fixed", tau=tau), NAMES, EMPTY, 1)


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
