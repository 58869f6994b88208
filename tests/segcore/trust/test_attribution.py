import numpy as np
import pytest

from benchmarks.gate_scenes import Scenes
from segcore.trust.attribution import Scored, attribute
from segcore.trust.confusion import ConfusionTable, miou


def test_the_parts_add_up_and_a_part_that_is_nothing_has_0_in_its_interval():
    rng = np.random.default_rng(0)
    scenes = Scenes(100, 0.5, rng)
    scored = Scored(scenes.student(rng), scenes.student(rng), scenes.student(rng, 2.0))
    found = attribute(scored, resamples=400, seed=0, same_schedule=True)
    assert found.longer.point + found.pseudo.point == pytest.approx(found.whole.point)
    assert found.whole.point == pytest.approx(miou(scored.winner.total()) - miou(scored.first.total()))
    assert found.longer.low < 0 < found.longer.high
    assert 0 < found.pseudo.low < found.pseudo.high
    assert found.num_images == 100


def test_only_images_that_all_three_may_be_scored_on_count():
    rng = np.random.default_rng(0)
    table = Scenes(20, 0.5, rng).student(rng)
    fewer = table.select(table.image_ids[:12])
    assert attribute(Scored(table, fewer, table), 100, 0, True).num_images == 12
    other = ConfusionTable(tuple(f"other{index}" for index in range(20)), table.counts)
    assert attribute(Scored(table, other, table), 100, 0, True) is None
