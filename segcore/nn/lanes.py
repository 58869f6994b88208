"""Several parts of a group of images at once on a CPU, each on threads of its own.

Threads that share every small operation of a network mostly wait for each other: two threads on one image kept two
cores 60 to 73 % busy. Two images side by side, one thread each, keep them busy but for what Python holds back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import torch

MAX_LANES = 4  # each holds an image's logits and the network's activations
TURNS = 4  # parts a lane gets of a group: the last one of all is waited for, so few would leave lanes idle

Item = TypeVar("Item")
Made = TypeVar("Made")


class Lanes:
    """count: parts that run side by side, each with as many threads as torch may use divided by it.

    turns: parts of a group for each lane.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.turns = 1 if count == 1 else TURNS
        threads = max(1, torch.get_num_threads() // count)
        self.pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(threads,))

    def run(self, work: Callable[[Sequence[Item]], list[Made]], items: Sequence[Item]) -> list[Made]:
        """Return what work makes of all items, in their order; neighbours stay together, lanes take parts in turn."""
        parts = split_evenly(items, self.count * self.turns)
        if len(parts) < 2:
            return work(items)
        return [made for found in self.pool.map(work, parts) for made in found]


def lanes_of(device: str) -> Lanes:
    """Return the lanes of a device: one on a GPU, which runs one batch after the other; on a CPU one a thread, few."""
    return Lanes(1 if device != "cpu" else min(torch.get_num_threads(), MAX_LANES))


def split_evenly(items: Sequence[Item], count: int) -> list[Sequence[Item]]:
    """Return at most `count` runs of neighbours whose lengths differ by one at most, none empty."""
    bounds = [index * len(items) // count for index in range(count + 1)]
    return [items[first:last] for first, last in pairwise(bounds) if last > first]
