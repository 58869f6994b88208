"""A pool that grows: only the shards that new images fall into are labelled again, as --plan said before."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segcore.config.load import load_config
from segcore.pseudo.shards import shard_of
from segcore.steps.plan import Plan, plan_run
from segcore.steps.plan_growth import changed_pool
from segcore.store.events import read_events

NUM_SHARDS = 8
CHANGES = (f"label.num_shards={NUM_SHARDS}",)
INPUTS = {
    "images": {"train": {"a": [1, "x"]}, "unlabeled_0": {"b": [1, "y"]}, "test": {}},
    "label_files": {"train": "t", "unlabeled_0": "u"},
    "roles": {"seed": 0},
}


def add_images(data: Path, num: int) -> list[str]:
    """Add images of noise to the unlabelled list; return their image ids."""
    path = data / "unlabeled.json"
    coco = json.loads(path.read_text())
    rng = np.random.default_rng(5)
    names = [f"unlabeled/new_{number}.png" for number in range(num)]
    for name in names:
        assert cv2.imwrite(str(data / name), rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
        coco["images"].append({"id": len(coco["images"]) + 1, "file_name": name, "width": 64, "height": 64})
    path.write_text(json.dumps(coco))
    return [f"unlabeled_0/{name}" for name in names]


def planned(root: Path, overrides: Sequence[str] = CHANGES) -> Plan:
    return plan_run(load_config(root / "tiny.yaml", overrides), root / "artifacts" / "tiny")


def session(folder: Path, event_name: str) -> list[str]:
    """Return the places that the last session made (step_done) or reused (step_reused)."""
    events = list(read_events(folder))
    start = max(number for number, event in enumerate(events) if event["event"] == "opened")
    return [event["place"] for event in events[start:] if event["event"] == event_name]


def test_new_images_have_their_shards_labelled_again_and_no_other_and_round_0_keeps_its_score(
    tmp_path: Path, tiny_loop: Callable[..., Path]
) -> None:
    folder = tiny_loop(CHANGES)
    score = json.loads((folder / "round_00" / "round.json").read_text())["score"]
    shards = sorted({shard_of(image_id, NUM_SHARDS) for image_id in add_images(tmp_path / "data", 2)})
    plan = planned(tmp_path)
    verdicts = {step.place: step for step in plan.steps}
    assert plan.stale_data
    assert [verdicts[place].verdict for place in ("index", "round_00/student", "round_00/evaluation")] == [
        "redo", "reuse", "reuse",
    ]  # fmt: skip
    line = verdicts["round_01/labels"]
    assert line.verdict == "redo"
    names = ", ".join(f"{shard:04d}" for shard in shards)
    assert line.note.startswith(f"{len(shards)} of {NUM_SHARDS} shards ({names})")

    tiny_loop(CHANGES, update=True)
    made, reused = session(folder, "step_done"), session(folder, "step_reused")
    assert [place for place in made if "round_01/labels" in place] == [f"round_01/labels/shard_{n:04d}" for n in shards]
    assert {"round_00/student", "round_00/evaluation"} <= set(reused)
    assert json.loads((folder / "round_00" / "round.json").read_text())["score"] == score
    num_images = json.loads(next(folder.glob("round_01/pseudo_labels.*/quality.json")).read_text())["num_images"]
    assert num_images in (12, 14)
    assert planned(tmp_path).steps[0].verdict == "reuse"


def test_more_shards_for_a_pool_that_outgrew_its_own_are_all_new(tmp_path: Path, tiny_loop: Any) -> None:
    free = ("label.num_shards=null", "label.images_per_shard=5")
    tiny_loop(free)
    add_images(tmp_path / "data", 24)
    line = next(step for step in planned(tmp_path, free).steps if step.place == "round_01/labels")
    assert line.note.startswith("8 of 8 shards")


def test_images_that_went_are_a_change_of_their_shards_too(tmp_path: Path, tiny_loop: Any) -> None:
    tiny_loop(CHANGES)
    path = tmp_path / "data" / "unlabeled.json"
    coco = json.loads(path.read_text())
    gone = coco["images"].pop()["file_name"]
    path.write_text(json.dumps(coco))
    line = next(step for step in planned(tmp_path).steps if step.place == "round_01/labels")
    assert line.note.startswith(f"1 of {NUM_SHARDS} shards ({shard_of(f'unlabeled_0/{gone}', NUM_SHARDS):04d})")


@pytest.mark.parametrize(
    ("change", "came", "went"),
    [
        ({"unlabeled_0": {"b": [1, "y"], "c": [2, "z"]}}, {"unlabeled_0/c"}, set()),
        ({"unlabeled_0": {}}, set(), {"unlabeled_0/b"}),
        ({"unlabeled_0": {"b": [1, "other"]}}, {"unlabeled_0/b"}, {"unlabeled_0/b"}),
        ({"unlabeled_1": {"b": [1, "y"]}}, {"unlabeled_1/b"}, set()),
        ({"test": {"d": [1, "y"]}}, {"test/d"}, set()),
    ],
)
def test_what_came_and_what_went(change: dict[str, Any], came: set[str], went: set[str]) -> None:
    lists = {"train": "t", "unlabeled_0": "another list"}
    new = {**INPUTS, "images": {**INPUTS["images"], **change}, "label_files": lists}
    assert changed_pool(new, INPUTS) == (came, went)


@pytest.mark.parametrize(
    "new",
    [
        {**INPUTS, "roles": {"seed": 1}},
        {**INPUTS, "images": {**INPUTS["images"], "train": {"a": [1, "changed"]}}},
        {**INPUTS, "label_files": {"train": "other labels", "unlabeled_0": "u"}},
        {**INPUTS, "label_files": {**INPUTS["label_files"], "test_labels": "now"}},
    ],
)
def test_where_more_than_the_pool_differs_nothing_is_promised(new: dict[str, Any]) -> None:
    assert changed_pool(new, INPUTS) is None
