import numpy as np
import pytest

from benchmarks.calibration import TARGETS, measure, what_is_possible
from benchmarks.calibration_page import page
from benchmarks.calibration_worlds import WORLDS, World, draw, truth_of

FAILING = World("half of the images fail", 20.0, 0.0, 0.5)


def test_images_of_a_world_fail_as_a_whole():
    counts = draw(FAILING, 400, np.random.default_rng(1))
    right = counts.correct[:, 0] / counts.count[:, 0]
    assert ((right < 0.2) | (right > 0.99)).all()
    assert np.mean(right < 0.2) == pytest.approx(0.5, abs=0.1)


def test_pixels_at_or_above_a_level_fall_with_the_level_and_are_not_more_right_than_there_are():
    counts = draw(WORLDS[1], 20, np.random.default_rng(1))
    assert (np.diff(counts.count, axis=1) <= 0).all()
    assert (counts.correct <= counts.count).all()


def test_a_result_makes_a_page_with_all_bounds_and_policies():
    truth = truth_of(FAILING)
    sizes = [measure(FAILING, truth, 6, 3, np.random.default_rng(0))]
    targets = [what_is_possible(truth, target) for target in TARGETS]
    world = {"name": FAILING.name, "targets": targets, "sizes": sizes}
    text = page({"environment": {"cores": "2"}, "trials": 3, "worlds": [world]}, "2026-01-02")
    rows = [line for line in text.splitlines() if line.startswith(f"| {FAILING.name}")]
    assert len(rows) == 1 + len(TARGETS)
    assert all(row.count("|") == (7 if number == 0 else 9) for number, row in enumerate(rows))
    assert "0.00 of 0.00" in rows[2]
