from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from segcore.nn.augment.example import Example
from segcore.nn.decoded_cache import DecodedCache


def example(seed: int, height: int, width: int, weighed: bool) -> Example:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    label_map, weight = rng.integers(0, 256, (2, height, width), dtype=np.uint8)
    return Example(image, label_map, weight if weighed else None)


EXAMPLES = [example(0, 64, 64, True), example(1, 5, 64, False), example(2, 1, 1, True)]


def test_what_other_processes_decoded_comes_back_byte_for_byte(tmp_path: Path) -> None:
    cache = DecodedCache(4, 64, tmp_path / "resume")
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=cache.put, args=(index, found)) for index, found in enumerate(EXAMPLES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(cache) == 3
    for index, expected in enumerate(EXAMPLES):
        found = cache.get(index)
        assert found is not None
        for array, original in zip(found.arrays, expected.arrays, strict=True):
            np.testing.assert_array_equal(array, original)
            assert not array.flags.writeable
    assert cache.get(3) is None
    assert list((tmp_path / "resume").iterdir()) == []


@pytest.mark.parametrize("index", [0, 1, 3])
def test_beyond_its_room_nothing_is_kept_and_the_rest_stays(tmp_path: Path, index: int) -> None:
    cache = DecodedCache(4, 64, tmp_path, max_bytes=30_000)
    cache.put(2, EXAMPLES[0])
    cache.put(index, EXAMPLES[0])
    assert cache.get(index) is None
    assert cache.get(2) is not None


def test_a_full_disk_ends_keeping_not_training(tmp_path: Path) -> None:
    cache = DecodedCache(4, 64, tmp_path)
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, cache.descriptor)
    os.close(full)
    cache.put(0, EXAMPLES[0])
    assert cache.max_bytes == 0
