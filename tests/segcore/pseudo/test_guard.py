"""Freezing and raising on maps small enough to read; the whole way is in tests/faults/test_collapse.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segcore.pseudo.confidence import LEVEL_EDGES, NO_LEVEL
from segcore.pseudo.guard import FrozenClass, as_frozen, guard_map, raised, raised_level
from segcore.pseudo.thresholds import Thresholds

I = 255  # noqa: E741
SURE = np.full((1, 5), 200, np.uint8)


def row(*ids):
    return np.array([ids], np.uint8)


@pytest.mark.parametrize(
    ("draft", "older", "expected"),
    [
        # class 1 is frozen: kept where it was, whoever claims it now; ignored where it is new
        (row(0, 2, I, 1, 1), {1: row(1, 1, 1, 1, 0)}, row(1, 1, 1, 1, I)),
        # the image is new to the pool: nothing was good there
        (row(0, 1, 1, 2, I), {1: None}, row(0, I, I, 2, I)),
        # another size: another picture under the same name
        (row(0, 1, 1, 2, I), {1: np.ones((5, 1), np.uint8)}, row(0, I, I, 2, I)),
        # two frozen classes, from two rounds, that claim one pixel
        (row(0, 0, 0, 0, 0), {1: row(1, 1, 0, 0, 0), 2: row(0, 2, 2, 0, 0)}, row(1, I, 2, 0, 0)),
        (row(0, 1, 2, I, 0), {}, row(0, 1, 2, I, 0)),
    ],
)
def test_a_frozen_class_keeps_its_good_pixels_and_gets_no_new_ones(draft, older, expected):
    assert guard_map(draft, SURE, (0, 0, 0), older).tolist() == expected.tolist()


def test_a_raised_class_loses_its_less_sure_pixels_to_ignore_and_no_other_class_does():
    draft, levels = row(1, 1, 0, 2, I), row(10, 50, 10, 10, 10)
    assert guard_map(draft, levels, (5, 40, 5), {}).tolist() == row(I, 1, 0, 2, I).tolist()
    assert guard_map(draft, levels, (5, NO_LEVEL, 5), {}).tolist() == row(I, I, 0, 2, I).tolist()


@pytest.mark.parametrize(
    ("pixels", "level", "share", "expected"),
    [
        ({10: 50, 20: 50}, 0, 0.5, 11),  # the lower half goes
        ({10: 50, 20: 50}, 0, 0.4, 21),  # a level goes or stays as a whole
        ({10: 100, 20: 50, 30: 50}, 15, 0.5, 21),  # of those that are kept, not of all
        ({255: 9}, 0, 0.5, NO_LEVEL),
        ({}, 30, 0.5, 30),
        ({10: 5}, NO_LEVEL, 0.5, NO_LEVEL),
    ],
)
def test_tau_is_raised_until_at_most_the_share_is_left(pixels, level, share, expected):
    counts = np.zeros(256, np.int64)
    for at, number in pixels.items():
        counts[at] = number
    assert raised_level(counts, level, share) == expected


def test_a_frozen_class_is_listed_with_the_threshold_its_labels_passed():
    cut = Thresholds(("a", "b"), "fixed", 1, (0.3, 0.3), (6, 6), (1.0, 1.0), (None, None))
    found = as_frozen(cut, [FrozenClass(1, Path("maps"), (), "teacher", 1, 0.5)])
    assert (found.tau, found.level) == ((0.3, 0.5), (6, 12))


def test_raised_thresholds_name_the_confidence_of_their_level():
    cut = Thresholds(("a", "b"), "fixed", 1, (0.3, 0.3), (6, 6), (1.0, 1.0), (None, None))
    counts = np.zeros((2, 256), np.int64)
    counts[:, [10, 60]] = 5
    found = raised(cut, [1], counts, 0.5)
    assert found.level == (6, 11)
    assert found.tau == (0.3, pytest.approx(LEVEL_EDGES[11]))
