from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segcore.errors import DataError
from segcore.pseudo.voting import voted


def slow_vote(votes: list[int], weights: list[Fraction]) -> tuple[int, Fraction]:
    """Return the class and share of one pixel, counted exactly."""
    sums: defaultdict[int, Fraction] = defaultdict(Fraction)
    for class_id, weight in zip(votes, weights, strict=True):
        sums[class_id] += weight
    most = max(sums.values())
    deciding = min(
        (member for member, class_id in enumerate(votes) if sums[class_id] == most),
        key=lambda member: (-weights[member], member),
    )
    return votes[deciding], most / sum(weights)


@pytest.mark.parametrize(
    ("votes", "weights", "expected", "share"),
    [
        ([1, 1, 2], [1, 1, 1], 1, 2 / 3),
        ([1, 2, 2], [3, 1, 1], 1, 3 / 5),
        ([2, 1], [1, 1], 2, 1 / 2),  # a tie: who was named first
        ([2, 1], [1, 1.5], 1, 3 / 5),
        ([0, 1, 1], [2, 1, 1], 0, 1 / 2),  # a tie: the larger weight
        ([3, 1, 2], [1, 1, 1], 3, 1 / 3),
        ([1, 2, 2], [0.3, 0.1, 0.2], 1, 1 / 2),  # 0.1 + 0.2 is no 0.3 in floating point
        ([7], [0.2], 7, 1),
    ],
)
def test_the_class_with_most_weight_wins(votes: list[int], weights: list[float], expected: int, share: float) -> None:
    label_map, found = voted([np.full((1, 2), vote, np.uint8) for vote in votes], weights)
    assert label_map.tolist() == [[expected] * 2]
    assert found[0].tolist() == pytest.approx([share] * 2)


@given(
    st.integers(1, 5).flatmap(
        lambda members: st.tuples(
            st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=members, max_size=members),
            st.lists(st.integers(1, 40), min_size=members, max_size=members),
        )
    )
)
def test_it_is_the_slow_count_pixel_by_pixel(drawn: tuple[list[list[int]], list[int]]) -> None:
    votes, tenths = drawn
    maps = [np.array(vote, np.uint8).reshape(2, 3) for vote in votes]
    label_map, share = voted(maps, [number / 10 for number in tenths])
    for pixel in range(6):
        expected = slow_vote([vote[pixel] for vote in votes], [Fraction(number, 10) for number in tenths])
        assert (label_map.flat[pixel], share.flat[pixel]) == (expected[0], pytest.approx(float(expected[1])))


def test_maps_of_different_sizes_do_not_vote() -> None:
    with pytest.raises(DataError, match="one size"):
        voted([np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8)], [1, 1])


def test_the_maps_that_vote_are_left_as_they_are() -> None:
    maps = [np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8), np.ones((2, 2), np.uint8)]
    voted(maps, [1, 1, 1])
    assert [int(one.max()) for one in maps] == [0, 1, 1]
