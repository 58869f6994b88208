"""A folder in, results in every form out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from segcore.errors import ConfigError
from segcore.outputs.submission import validate_submission
from segcore.pseudo.predictions import read_image_ids
from segcore.steps.model_files import ModelRequest, ViewRequest
from segcore.steps.predict_folder import PredictSpec, PredictSummary, predict_folder
from segcore.steps.run import Run

NAMES = ["000.png", "001.png", "deep/002.png"]


@pytest.fixture
def photos(tmp_path: Path, finished_run: Run) -> Path:
    """Return three images, one in a subfolder, and one that cannot be read."""
    source, folder = Path(finished_run.config.data.train.images) / "val", tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name in NAMES:
        shutil.copy(source / Path(name).name, folder / name)
    shutil.copy(source / "003.png", folder / "bad.png")
    return folder


def predicted(run: Run, photos: Path, form: str, out: Path) -> PredictSummary:
    """Predict photos into out."""
    spec = PredictSpec(ModelRequest(run.folder, None), str(photos), str(out), form, ViewRequest(), (16, 8))
    summary = predict_folder(spec)
    assert summary.num_images == 3
    assert [item.image_id for item in summary.quarantined] == ["bad.png"]
    assert not list(out.glob(".segloop*")), "nothing temporary may stay"
    assert not list(out.glob("*.part"))
    return summary


@pytest.mark.usefixtures("colour_labeller")
class TestForms:
    def test_coco_loads_and_holds_the_images_that_could_be_read(self, finished_run: Run, photos: Path) -> None:
        summary = predicted(finished_run, photos, "coco", photos.parent / "out")
        coco = COCO(summary.out)
        assert sorted(image["file_name"] for image in coco.dataset["images"]) == NAMES
        assert {category["name"] for category in coco.dataset["categories"]} == {"red", "green", "ignore"}
        assert all(coco.annToMask(entry).any() for entry in coco.dataset["annotations"])

    def test_pngs_hold_class_ids_under_the_images_own_names(self, finished_run: Run, photos: Path) -> None:
        predicted(finished_run, photos, "png", photos.parent / "out")
        for name in NAMES:
            with Image.open(photos.parent / "out" / name) as png:
                assert png.mode == "P"
                assert set(np.unique(np.array(png)).tolist()) <= {0, 1, 2}

    def test_overlays_are_colour_pictures_of_the_images_size(self, finished_run: Run, photos: Path) -> None:
        predicted(finished_run, photos, "overlay", photos.parent / "out")
        shapes = {cv2.imread(str(photos.parent / "out" / name)).shape for name in NAMES}
        assert shapes == {(64, 64, 3)}

    def test_parquet_holds_all_predictions_in_one_file(self, finished_run: Run, photos: Path) -> None:
        summary = predicted(finished_run, photos, "parquet", photos.parent / "out")
        assert list(read_image_ids(Path(summary.out))) == NAMES

    def test_csv_is_a_valid_submission_at_the_size_asked_for(self, finished_run: Run, photos: Path) -> None:
        summary = predicted(finished_run, photos, "csv", photos.parent / "out")
        validate_submission(Path(summary.out), NAMES, (16, 8), 3)

    def test_many_images_are_asked_for_in_chunks(
        self, finished_run: Run, photos: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("segcore.steps.predict_images.CHUNK", 2)
        summary = predicted(finished_run, photos, "coco", photos.parent / "out")
        assert len(json.loads(Path(summary.out).read_text())["images"]) == 3


@pytest.mark.parametrize("out", [".", "deep/results"])
def test_results_may_not_lie_among_the_images(finished_run: Run, photos: Path, out: str) -> None:
    with pytest.raises(ConfigError, match="outside the image folder"):
        predict_folder(
            PredictSpec(ModelRequest(finished_run.folder, None), str(photos), str(photos / out), "png", ViewRequest())
        )


def test_an_unknown_form_is_refused(finished_run: Run, photos: Path) -> None:
    with pytest.raises(ConfigError, match="--format"):
        predict_folder(
            PredictSpec(ModelRequest(finished_run.folder, None), str(photos), str(photos.parent), "gif", ViewRequest())
        )
