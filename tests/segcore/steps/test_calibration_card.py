"""Calibration, promises and selection in a whole run, with stubs for training and prediction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segcore.data.label_maps import LabelMaps
from segcore.steps.finished import existing_run, published_index
from segcore.steps.index import class_map_of

from ...faults.stub_loop import SMALL, replace_parts, walk

CALIBRATED = (*SMALL, "filter.policy=calibrated", "filter.target_precision=0.2", "filter.reliable_share=0.5")


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory, write_tiny: Callable[[Path, str], Path]) -> Path:
    """Return the folder of a finished run of three rounds whose teachers are right on a third of the pixels."""
    with pytest.MonkeyPatch.context() as patch:
        replace_parts(patch.setattr)
        return walk(write_tiny(tmp_path_factory.mktemp("calibrated"), "tiny"), CALIBRATED)


def only(folder: Path, pattern: str) -> Any:
    """Return the contents of the one JSON file that fits."""
    (path,) = folder.glob(pattern)
    return json.loads(path.read_text(encoding="utf-8"))


def test_each_labelling_is_calibrated_and_the_report_shows_the_last(run_dir: Path) -> None:
    run = existing_run(run_dir)
    names = list(class_map_of(run, published_index(run)).names)
    for place in ("round_01", "round_02", "final"):
        card = only(run_dir, f"{place}/calibration.*/calibration.json")
        assert [row["name"] for row in card["classes"]] == names
        assert card["all"]["accuracy"] < 0.6 < card["all"]["confidence"]
        assert card["all"]["ece"]["after"]["point"] < card["all"]["ece"]["before"]["point"]
    report = (run_dir / "outputs" / "report.html").read_text(encoding="utf-8")
    assert f"temperature {card['temperature']:.2f}" in report
    assert report.count('aria-label="reliability diagram of') == 1 + len(names)


def test_with_three_calib_images_no_class_is_promised_anything(run_dir: Path) -> None:
    cut = only(run_dir, "round_01/pseudo_labels.*/thresholds.json")
    card = only(run_dir, "round_01/calibration.*/calibration.json")
    assert card["all"]["num_images"] == 3
    assert {row["promise"] for row in cut["classes"]} <= {"no promise", "not labelled"}


def test_half_of_the_images_are_labelled_in_the_first_round_and_all_in_the_second(run_dir: Path) -> None:
    numbers = {}
    for place in ("round_01", "round_02", "final"):
        (path,) = run_dir.glob(f"{place}/pseudo_labels.*/label_maps.arrow")
        numbers[place] = len(LabelMaps(path))
    assert numbers["round_01"] == numbers["round_02"] / 2 == numbers["final"] / 2
