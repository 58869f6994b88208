import os

import pytest

from segcore.data.scan import MAX_BATCH, in_threads


@pytest.mark.parametrize("num_items", [0, 1, 7, 1000])
@pytest.mark.parametrize("num_cores", [1, 3, 64])
def test_every_item_is_worked_on_once_and_results_come_in_order(num_items, num_cores, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: num_cores)
    seen = []
    assert in_threads(lambda item: (seen.append(item), 2 * item)[1], range(num_items)) == list(
        range(0, 2 * num_items, 2)
    )
    assert sorted(seen) == list(range(num_items))


def test_what_one_item_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: 1 // (item - MAX_BATCH), range(3 * MAX_BATCH))
