"""Which images of the pool a student learns from: without test images where rules forbid them, and capped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segcore.data.label_maps import LabelMaps
from segcore.outputs.submission import validate_submission
from segcore.steps.explain import explain
from segcore.steps.finished import existing_run, published_index
from segcore.steps.index import images_of
from segcore.trust.lineage import Lineage

from .stub_loop import SMALL, walk

NAMES = [f"test/{number:03d}.png" for number in range(2)]


def labelled(folder: Path, place: str) -> set[str]:
    """Return the images that have a pseudo-label."""
    maps = LabelMaps(next(folder.glob(f"{place}/pseudo_labels.*/label_maps.arrow")))
    found = set(maps.ids())
    maps.close()
    return found


@pytest.fixture
def run(few_images: Path, stub_programs: None) -> Callable[..., Path]:
    """Return a function (*overrides, update=False) that runs the loop over 3 unlabelled and 2 test images."""

    def walked(*overrides: str, update: bool = False) -> Path:
        return walk(few_images, (*SMALL, *overrides), update)

    return walked


def test_without_use_test_nothing_learns_from_test_images_and_the_report_says_so(run: Any) -> None:
    folder = run("pool.use_test=false")
    assert {image_id.partition("/")[0] for image_id in labelled(folder, "round_01")} == {"unlabeled_0"}
    assert {image_id.partition("/")[0] for image_id in labelled(folder, "final")} == {"unlabeled_0"}
    index = published_index(existing_run(str(folder)))
    test = {image.sha256 for image in images_of(existing_run(str(folder)), index, "test")}
    last = folder / json.loads((folder / "round_02" / "round.json").read_text())["student"]["lineage"]
    assert not test & {image.sha256 for image in Lineage.read(last).images}
    assert "gets no pseudo-label: pool.use_test is false" in explain(str(folder), "test/test/000.png")
    assert "Inductive: test images were not trained on" in (folder / "outputs" / "report.html").read_text()
    validate_submission(folder / "outputs" / "submission.csv", NAMES, (32, 32), 3)


def test_with_use_test_the_report_says_that_the_run_is_transductive(run: Any) -> None:
    folder = run()
    assert {image_id.partition("/")[0] for image_id in labelled(folder, "round_01")} == {"unlabeled_0", "test"}
    assert "Transductive: test images were pseudo-labelled" in (folder / "outputs" / "report.html").read_text()


def test_a_capped_pool_labels_no_more_and_the_submission_stays_whole(run: Any) -> None:
    folder = run("pool.max_images=2")
    chosen = labelled(folder, "round_01")
    assert len(chosen) == 2
    assert labelled(folder, "round_02") == labelled(folder, "final") == chosen
    left_out = min({f"unlabeled_0/unlabeled/{number:03d}.png" for number in range(3)} - chosen)
    assert "gets no pseudo-label: the pool is capped at 2 images" in explain(str(folder), left_out)
    validate_submission(folder / "outputs" / "submission.csv", NAMES, (32, 32), 3)


def test_what_the_pool_is_changes_the_final_labels_where_nothing_else_does(run: Any) -> None:
    folder = run("loop.rounds=0")
    assert len(labelled(folder, "final")) == 5
    run("loop.rounds=0", "pool.use_test=false", update=True)
    annotations = json.loads((folder / "outputs" / "annotations.json").read_text())
    assert len(annotations["images"]) == 3
