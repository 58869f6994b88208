"""The three competition recipes run to their end on a drawn data set of the competition's layout, at tiny width."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from segcore.config.load import load_config
from segcore.outputs.submission import validate_submission
from segcore.steps.model_files import read_classes
from segcore.store.canonical import file_sha256
from segcore.store.manifest import read_manifest
from segcore.trust.lineage import Lineage

from .competition_data import CATEGORIES, FOLDERS, PALETTE
from .conftest import config_of, published

pytestmark = pytest.mark.timeout(600)  # the runs take a quarter of a minute of CPU, and other tests run beside them

NAMES = ("Background", *CATEGORIES)
IN_FULL = "recycling_convnext_tiny"  # with a round and the final refit
WALKED = (IN_FULL, "recycling_convnext_xl", "recycling_swin_large")


@pytest.mark.parametrize("name", WALKED)
def test_the_loop_comes_to_its_end_with_outputs(runs: dict[str, Path], name: str) -> None:
    outputs = runs[name] / "outputs"
    found = {path.name for path in outputs.iterdir()}
    assert {"model.pth", "model_config.py", "report.html", "submission.csv", "annotations.json"} <= found


@pytest.mark.parametrize("name", WALKED)
def test_classes_and_palette_are_the_competitions(runs: dict[str, Path], name: str) -> None:
    classes = read_classes(runs[name] / "outputs" / "classes.json")
    assert classes.names == NAMES
    assert classes.palette == PALETTE
    assert classes.category_ids == (None, *range(1, 11))


@pytest.mark.parametrize("name", WALKED)
def test_the_submission_has_256_times_256_class_ids_for_every_test_image(runs: dict[str, Path], name: str) -> None:
    csv.field_size_limit(2**24)
    path = runs[name] / "outputs" / "submission.csv"
    names = [
        image["file_name"] for image in json.loads((runs[name].parent / "data" / "test.json").read_text())["images"]
    ]
    assert {Path(name).parent.name for name in names} == set(FOLDERS)
    validate_submission(path, names, (256, 256), len(NAMES))
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image_id", "PredictionString"]
    assert [row[0] for row in rows[1:]] == names
    assert {len(row[1].split()) for row in rows[1:]} == {256 * 256}


def test_later_rounds_go_on_from_the_teacher_at_the_lower_learning_rate(runs: dict[str, Path]) -> None:
    first, later = (published(runs[IN_FULL], f"round_0{number}/student") for number in (0, 1))
    inputs = {folder: read_manifest(folder).inputs for folder in (first, later)}
    assert [found["train"]["lr"] for found in inputs.values()] == [1e-4, 6e-5]
    assert inputs[first]["start"] is None
    assert inputs[later]["start"] == file_sha256(first / "model.pth")


def test_val_trains_in_the_refit_and_nowhere_else(runs: dict[str, Path]) -> None:
    places = ("round_00/student", "round_01/student", "final/refit")
    lineages = [Lineage.read(published(runs[IN_FULL], place) / "lineage.json") for place in places]
    assert [sum(image.via == "gt" for image in lineage.images) for lineage in lineages] == [12, 12, 12 + 16]
    assert (runs[IN_FULL] / "outputs" / "refit" / "model.pth").is_file()


def test_other_recipes_differ_from_it_in_what_their_headers_say_alone() -> None:
    """The three files are whole each, so that one can be sent to somebody; they may not drift apart."""
    texts = [load_config(config_of(name)).model_dump(mode="json") for name in WALKED]
    for config in texts:
        config.pop("run_id")
        config["model"].pop("preset")
        for field in ("batch_size", "weight_decay"):
            config["train"].pop(field)
    assert texts[0] == texts[1] == texts[2]
