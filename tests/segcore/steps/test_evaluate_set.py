"""A model's score on a labelled set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segcore.data.coco import load_coco
from segcore.errors import ConfigError, DataError, HonestScoreError, SegloopError
from segcore.records import ClassMap
from segcore.steps.evaluate_set import EvaluateSetSpec, evaluate_set, matched_classes
from segcore.steps.honest_set import Provenance
from segcore.steps.model_files import ModelRequest, ViewRequest
from segcore.steps.run import Run

Edit = Callable[[dict[str, Any]], None]


def spec_of(run: Run, annotations: Path | None = None, **changes: Any) -> EvaluateSetSpec:
    """Return a request to score the run's model on its own val images."""
    data = run.config.data
    assert data.val is not None
    given: dict[str, Any] = {
        "model": ModelRequest(run.folder, None),
        "annotations": str(annotations or data.val.annotations),
        "images": str(data.val.images),
        "provenance": Provenance(),
        "views": ViewRequest(),
    }
    return EvaluateSetSpec(**{**given, **changes})


@pytest.mark.usefixtures("colour_labeller")
def test_a_model_that_sees_colours_scores_high_and_the_result_says_on_what(finished_run: Run, tmp_path: Path) -> None:
    result = evaluate_set(spec_of(finished_run, json_path=str(tmp_path / "r.json")))
    assert result.score.miou.point > 0.8
    assert (result.score.num_images, result.score.num_excluded) == (12, 0)
    assert "mIoU" in result.table
    assert "red" in result.table
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["score"]["miou"]["point"] == result.score.miou.point
    assert len(written["images"]) == 12
    assert written["lineage"] == {"from_file": True, "num_images": 18, "num_unchecked": 0, "stated_unseen": False}
    assert written["views"]["sizes"] == [64]


@pytest.mark.usefixtures("colour_labeller")
def test_train_images_in_the_set_are_left_out_and_counted(finished_run: Run, tmp_path: Path) -> None:
    data = finished_run.config.data
    assert data.val is not None
    merged, train = json.loads(data.val.annotations.read_text()), json.loads(data.train.annotations.read_text())
    merged["images"] += [{**image, "id": image["id"] + 100} for image in train["images"]]
    (tmp_path / "merged.json").write_text(json.dumps(merged))
    result = evaluate_set(spec_of(finished_run, tmp_path / "merged.json"))
    assert result.score.num_images == 12
    assert len(result.excluded) == result.score.num_excluded == 6
    assert "6 left out" in result.table


def test_a_set_the_model_was_trained_on_gives_no_score(finished_run: Run) -> None:
    with pytest.raises(HonestScoreError):
        evaluate_set(spec_of(finished_run, finished_run.config.data.train.annotations))


def test_a_foreign_model_needs_a_word_on_its_past_before_anything_is_predicted(
    finished_run: Run, tmp_path: Path
) -> None:
    for name in ("model.pth", "model_config.py"):
        shutil.copy(finished_run.layout.outputs_dir / name, tmp_path / name)
    model = ModelRequest(None, str(tmp_path / "model.pth"))
    with pytest.raises(HonestScoreError, match="--foreign-unseen"):
        evaluate_set(spec_of(finished_run, model=model, unannotated="background"))
    with pytest.raises(ConfigError, match="--unannotated"):
        evaluate_set(spec_of(finished_run, model=model))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda coco: coco["categories"].append({"id": 3, "name": "blue"}), "'blue' is no class of the model"),
        (lambda coco: coco["categories"][1].update(name="greem"), "'greem' is no class"),
        (lambda coco: coco["images"][0].update(file_name="val/nowhere.png"), "nowhere.png"),
        (lambda coco: coco["images"][0].update(width=63), "63x64"),
        (lambda coco: coco.update(images=[], annotations=[]), "at least one image"),
    ],
)
def test_a_set_that_does_not_fit_is_one_clear_error(finished_run: Run, tmp_path: Path, edit: Edit, words: str) -> None:
    data = finished_run.config.data
    assert data.val is not None
    coco = json.loads(data.val.annotations.read_text())
    coco["annotations"] = []
    edit(coco)
    (tmp_path / "set.json").write_text(json.dumps(coco))
    with pytest.raises(SegloopError, match=words):
        evaluate_set(spec_of(finished_run, tmp_path / "set.json"))


def test_classes_are_joined_by_name_whatever_their_ids(tmp_path: Path) -> None:
    model = ClassMap(("background", "red", "green"), ((0, 0, 0),) * 3, (None, 1, 2))
    categories = [{"id": 5, "name": "green"}, {"id": 8, "name": "red"}]
    (tmp_path / "c.json").write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    assert matched_classes(model, load_coco(tmp_path / "c.json")).category_ids == (None, 8, 5)
    (tmp_path / "c.json").write_text(json.dumps({"images": [], "annotations": [], "categories": categories[:1]}))
    with pytest.raises(DataError, match="'red' has no category"):
        matched_classes(model, load_coco(tmp_path / "c.json"))
