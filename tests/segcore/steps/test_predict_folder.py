"""A folder in, results in every form out; what was interrupted goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from segcore.errors import ConfigError, DataError, RunLockedError
from segcore.outputs.submission import validate_submission
from segcore.process.jobs import Ready
from segcore.pseudo.predictions import read_image_ids, read_predictions
from segcore.steps import predict_folder
from segcore.steps.ensemble import EnsembleRequest
from segcore.steps.model_files import CLASSES, ViewRequest
from segcore.steps.predict_folder import (
    SET_ASIDE,
    UNREADABLE,
    WORK,
    PredictSpec,
    PredictSummary,
    open_folder,
    predict_shard,
    write_predictions,
)
from segcore.steps.run import Run

from .conftest import ColourLabeller, by_colour

NAMES = ["000.png", "001.png", "deep/002.png"]
ALL_FORMS = ("coco", "png", "overlay", "parquet", "csv")


@pytest.fixture
def photos(tmp_path: Path, finished_run: Run) -> Path:
    """Return three images, one in a subfolder, and one that cannot be read."""
    source, folder = Path(finished_run.config.data.train.images) / "val", tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name in NAMES:
        shutil.copy(source / Path(name).name, folder / name)
    shutil.copy(source / "003.png", folder / "bad.png")
    return folder


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divide even four images into shards."""
    monkeypatch.setattr(predict_folder, "IMAGES_PER_SHARD", 1)


def spec_of(run: Run, photos: Path, *forms: str) -> PredictSpec:
    ensemble = EnsembleRequest(run.folder)
    return PredictSpec(ensemble, str(photos), str(photos.parent / "out"), forms, ViewRequest(), (16, 8))


def predicted(spec: PredictSpec) -> PredictSummary:
    """Label a folder as the flow does, without Prefect."""
    with open_folder(spec) as folder:
        return write_predictions(spec.out, [predict_shard(shard) for shard in folder.shards()])


def interrupted(spec: PredictSpec, num_done: int) -> int:
    """Label some shards of a folder and be interrupted; return how many shards it has."""
    with contextlib.suppress(KeyboardInterrupt), open_folder(spec) as folder:
        for shard in folder.shards()[:num_done]:
            assert not predict_shard(shard).output.reused
        raise KeyboardInterrupt
    return len(folder.shards())


@pytest.mark.usefixtures("colour_crew")
class TestForms:
    def out(self, run: Run, photos: Path, *forms: str) -> Path:
        """Return the folder of results, checked for what every form has in common."""
        summary = predicted(spec_of(run, photos, *forms))
        out = photos.parent / "out"
        assert summary.num_images == 3
        assert [item.image_id for item in summary.quarantined] == ["bad.png"]
        assert (out / SET_ASIDE).read_text() == "bad.png\tdamaged\n"
        assert not (out / WORK).exists(), "nothing temporary may stay"
        assert not list(out.rglob("*.part"))
        assert all(Path(path).exists() for path in summary.written)
        return out

    def test_coco_loads_and_holds_the_images_that_could_be_read(self, finished_run: Run, photos: Path) -> None:
        coco = COCO(str(self.out(finished_run, photos, "coco") / "annotations.json"))
        assert sorted(image["file_name"] for image in coco.dataset["images"]) == NAMES
        assert {category["name"] for category in coco.dataset["categories"]} == {"red", "green", "ignore"}
        assert all(coco.annToMask(entry).any() for entry in coco.dataset["annotations"])

    def test_pngs_hold_class_ids_under_the_images_own_names(self, finished_run: Run, photos: Path) -> None:
        out = self.out(finished_run, photos, "png")
        for name in NAMES:
            with Image.open(out / "png" / name) as png:
                assert png.mode == "P"
                assert np.array_equal(np.array(png), by_colour(photos / name))

    def test_overlays_are_colour_pictures_of_the_images_size(self, finished_run: Run, photos: Path) -> None:
        out = self.out(finished_run, photos, "overlay")
        assert {cv2.imread(str(out / "overlay" / name)).shape for name in NAMES} == {(64, 64, 3)}

    def test_parquet_holds_all_predictions_in_one_file(self, finished_run: Run, photos: Path) -> None:
        out = self.out(finished_run, photos, "parquet")
        found = {p.image_id: p.label_map for p in read_predictions(out / "predictions.parquet")}
        assert sorted(found) == NAMES
        assert all(np.array_equal(found[name], by_colour(photos / name)) for name in NAMES)

    def test_csv_is_a_valid_submission_at_the_size_asked_for(self, finished_run: Run, photos: Path) -> None:
        validate_submission(self.out(finished_run, photos, "csv") / "predictions.csv", NAMES, (16, 8), 3)

    @pytest.mark.usefixtures("small_shards")
    def test_all_forms_at_once_hold_the_same_images(self, finished_run: Run, photos: Path) -> None:
        out = self.out(finished_run, photos, *ALL_FORMS)
        coco = json.loads((out / "annotations.json").read_text())
        assert [image["file_name"] for image in coco["images"]] == NAMES
        assert sorted(read_image_ids(out / "predictions.parquet")) == NAMES
        validate_submission(out / "predictions.csv", NAMES, (16, 8), 3)
        for form in ("png", "overlay"):
            assert sorted(path.relative_to(out / form).as_posix() for path in (out / form).rglob("*.png")) == NAMES


@pytest.mark.usefixtures("small_shards")
class TestInterrupted:
    def test_shards_that_were_done_are_not_labelled_again(
        self, finished_run: Run, photos: Path, colour_crew: list[ColourLabeller]
    ) -> None:
        spec = spec_of(finished_run, photos, "png")
        num_shards = interrupted(spec, 1)
        assert num_shards > 1
        with open_folder(spec) as folder:
            shards = [predict_shard(shard) for shard in folder.shards()]
            assert [shard.output.reused for shard in shards] == [True] + [False] * (num_shards - 1)
            write_predictions(spec.out, shards)
        asked = [name for labeller in colour_crew for name in labeller.asked]
        assert sorted(asked) == sorted([*NAMES, "bad.png"])

    @pytest.mark.parametrize("change", ["image", "views", "weights", "base of the config", "size"])
    def test_what_changes_a_result_has_it_made_again(
        self, finished_run: Run, photos: Path, colour_crew: list[ColourLabeller], change: str, tmp_path: Path
    ) -> None:
        shutil.copytree(finished_run.layout.outputs_dir, tmp_path / "student")
        (tmp_path / "student" / "model_config.py").write_text("_base_ = 'base.py'\n")
        (tmp_path / "student" / "base.py").write_text("model = dict()\n")
        request = EnsembleRequest(checkpoints=(str(tmp_path / "student"),))
        spec = dataclasses.replace(spec_of(finished_run, photos, "csv"), ensemble=request)
        num_shards = interrupted(spec, 100)
        if change == "image":
            shutil.copy(photos / "001.png", photos / "000.png")
        if change == "views":
            spec = dataclasses.replace(spec, views=ViewRequest((64,)))
        if change == "weights":
            (tmp_path / "student" / "model.pth").write_bytes(b"other weights")
        if change == "base of the config":
            (tmp_path / "student" / "base.py").write_text("model = dict(depth=2)\n")
        if change == "size":
            spec = dataclasses.replace(spec, size=(4, 4))
        with open_folder(spec) as folder:
            reused = [predict_shard(shard).output.reused for shard in folder.shards()]
        assert reused.count(False) == (1 if change == "image" else num_shards)

    def test_a_second_process_is_told_to_wait(
        self, finished_run: Run, photos: Path, colour_crew: list[ColourLabeller]
    ) -> None:
        spec = spec_of(finished_run, photos, "png")
        with open_folder(spec), pytest.raises(RunLockedError, match="segloop"), open_folder(spec):
            pass


@pytest.mark.usefixtures("colour_crew")
def test_a_folder_of_which_nothing_can_be_labelled_is_an_error_that_names_the_list(
    finished_run: Run, photos: Path
) -> None:
    for name in NAMES:
        (photos / name).unlink()
    with pytest.raises(DataError, match=SET_ASIDE):
        predicted(spec_of(finished_run, photos, "coco"))
    assert "bad.png" in (photos.parent / "out" / SET_ASIDE).read_text()


@pytest.mark.usefixtures("colour_crew")
def test_links_out_of_the_folder_are_set_aside_and_never_opened(finished_run: Run, photos: Path) -> None:
    shutil.copy(photos / "000.png", photos.parent / "secret.png")
    (photos / "link.png").symlink_to(photos.parent / "secret.png")
    (photos / "nowhere.png").symlink_to(photos / "gone.png")
    summary = predicted(spec_of(finished_run, photos, "png"))
    assert [item.image_id for item in summary.quarantined] == ["bad.png", "link.png", "nowhere.png"]
    assert {item.reason for item in summary.quarantined[1:]} == {UNREADABLE}
    assert not (photos.parent / "out" / "png" / "link.png").exists()


def test_classes_that_nobody_names_are_those_of_the_models_own_data_set(
    finished_run: Run, photos: Path, colour_crew: list[ColourLabeller], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(finished_run.layout.outputs_dir, tmp_path / "foreign")
    (tmp_path / "foreign" / CLASSES).unlink()
    request = EnsembleRequest(checkpoints=(str(tmp_path / "foreign" / "model.pth"),))
    spec = dataclasses.replace(spec_of(finished_run, photos, "coco"), ensemble=request)
    names = []
    told = Ready("cpu", "fp32", 3, ("road", "car", "sky"), ((1, 2, 3), (4, 5, 6), (7, 8, 9)))
    for ready in (told, Ready("cpu", "fp32", 3)):
        with open_folder(spec) as folder:
            shards = []
            for shard in folder.shards():
                monkeypatch.setattr(ColourLabeller, "ready", ready, raising=False)
                shards.append(predict_shard(shard))
            write_predictions(spec.out, shards)
        coco = json.loads((photos.parent / "out" / "annotations.json").read_text())
        names.append([category["name"] for category in coco["categories"]][:3])
    assert names == [["road", "car", "sky"], ["class_0", "class_1", "class_2"]]


@pytest.mark.parametrize("out", [".", "deep/results"])
def test_results_may_not_lie_among_the_images(finished_run: Run, photos: Path, out: str) -> None:
    spec = dataclasses.replace(spec_of(finished_run, photos, "png"), out=str(photos / out))
    with pytest.raises(ConfigError, match="outside the image folder"), open_folder(spec):
        pass


def test_an_unknown_form_is_refused(finished_run: Run, photos: Path) -> None:
    with pytest.raises(ConfigError, match=r"--format.*gif"), open_folder(spec_of(finished_run, photos, "png", "gif")):
        pass
