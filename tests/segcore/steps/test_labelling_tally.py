import logging

import pytest

from segcore.progress import listeners
from segcore.steps.labelling_tally import LabellingTally, labelling_tally

SIZES = {0: 10, 1: 20, 4: 30}


@pytest.fixture
def heard():
    told = []
    listeners.append(told.append)
    yield told
    listeners.remove(told.append)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_shards_add_up_to_one_labelling_whose_rate_leaves_out_what_is_reused(heard):
    clock = Clock()
    tally = LabellingTally("round_01/labels", SIZES, clock)
    tally.finished(1, reused=True)
    tally.progressed(0, 0)
    clock.now += 4
    tally.progressed(0, 8)
    assert heard[0].images_per_s is None, "nothing was labelled yet"
    last = heard[-1]
    assert (last.num_done, last.num_images, last.num_new) == (28, 60, 8)
    assert (last.num_shards_done, last.num_shards, last.num_shards_reused) == (1, 3, 1)
    assert (last.images_per_s, last.eta_s) == (2.0, 16.0)


@pytest.mark.parametrize(
    ("reused", "line"),
    [
        ((), "round_01/labels: 60 images in 3 shards, 6.0 images/s"),
        ((1, 4), "round_01/labels: 60 images in 3 shards, 1.0 images/s, 2 shards reused"),
        ((0, 1, 4), "round_01/labels: 60 images in 3 shards, all reused"),
    ],
)
def test_the_log_gets_one_line_a_labelling(caplog, reused, line):
    clock = Clock()
    tally = LabellingTally("round_01/labels", SIZES, clock)
    with caplog.at_level(logging.INFO):
        for shard_index in SIZES:
            if shard_index not in reused:
                tally.progressed(shard_index, 0)
        clock.now += 10
        for shard_index in SIZES:
            tally.finished(shard_index, reused=shard_index in reused)
    assert [record.getMessage() for record in caplog.records] == [line]


def test_an_image_is_counted_once_when_its_shard_is_begun_again(heard):
    tally = LabellingTally("round_01/labels", SIZES, Clock())
    for num_done in (0, 8, 0, 5):
        tally.progressed(0, num_done)
    assert heard[-1].num_done == 5


def test_shards_of_one_labelling_share_a_tally_and_the_next_labelling_has_its_own(tmp_path):
    def tally_of(place):
        return labelling_tally(str(tmp_path), place, {0: 1})

    first = tally_of("round_01/labels")
    assert tally_of("round_01/labels") is first
    assert tally_of("round_02/labels") is not first
    first.finished(0, reused=False)
    assert tally_of("round_01/labels") is not first
