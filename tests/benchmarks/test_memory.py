import os

import pytest

from benchmarks.memory import PER_SHARD, measure, memory_of, milestones, page
from segcore.config.label_schema import LabelConfig


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return measure(tmp_path_factory.mktemp("memory"), 12, LabelConfig(sizes=(32,), flip=False), "cpu")


def test_the_labelling_process_itself_is_watched_from_its_first_image_to_its_last(samples):
    assert samples[-1][0] == 12
    assert [done for done, *_ in samples] == sorted(done for done, *_ in samples)
    own, _ = memory_of(os.getpid())
    assert all(50 < resident <= most for _, resident, most in samples)
    assert all(resident != own for _, resident, _ in samples)


def test_the_page_compares_with_the_first_hundred_images():
    grown = [(done, 100.0 + done / 10, 300.0) for done in range(0, 2 * PER_SHARD + 1, 60)]
    assert [done for done, *_ in milestones(grown)] == [120, 960]
    text = page({"environment": {}, "device": "cpu", "images": 960, "size": 64, "seconds": 1, "samples": grown}, "day")
    assert "1.750 times what it was after 120 images: NOT reached" in text
