from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
import torch

from segcore.nn.lanes import Lanes, lanes_of, split_evenly


@pytest.mark.parametrize("num", [0, 1, 3, 7, 8, 9, 100])
def test_a_split_keeps_every_item_once_and_in_order_in_runs_of_nearly_equal_length(num: int) -> None:
    parts = split_evenly(list(range(num)), 8)
    assert [item for part in parts for item in part] == list(range(num))
    lengths = {len(part) for part in parts}
    assert 0 not in lengths
    assert max(lengths, default=0) - min(lengths, default=0) <= 1


def test_lanes_give_results_in_the_order_of_the_items_whoever_ends_first() -> None:
    second_is_done = threading.Event()

    def work(part: Sequence[int]) -> list[int]:
        if 0 in part:
            assert second_is_done.wait(10), "the other lane must run meanwhile"
        else:
            second_is_done.set()
        return [item * item for item in part]

    assert Lanes(2).run(work, [0, 1, 2]) == [0, 1, 4]


def test_an_error_in_a_lane_is_the_callers() -> None:
    def work(part: Sequence[int]) -> list[int]:
        raise RuntimeError(f"cannot do {part[0]}")

    with pytest.raises(RuntimeError, match="cannot do 0"):
        Lanes(2).run(work, [0, 1])


def test_a_gpu_has_one_lane_and_a_cpu_shares_its_threads_among_few() -> None:
    before = torch.get_num_threads()
    try:
        assert lanes_of("cuda").count == 1
        torch.set_num_threads(2)
        assert lanes_of("cpu").count == 2
        threads = Lanes(2).run(lambda part: [torch.get_num_threads() for _ in part], [0, 1])
        assert threads == [1, 1]
        torch.set_num_threads(64)
        assert lanes_of("cpu").count == 4
    finally:
        torch.set_num_threads(before)
