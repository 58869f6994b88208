"""What may score a model: nothing it has seen, no copy of it, and nothing at all when nobody knows what it has seen."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from segcore.data.images import read_image
from segcore.data.scan import Scan, scan_images
from segcore.data.sources import SourceImage
from segcore.errors import ConfigError, HonestScoreError
from segcore.steps.honest_set import Provenance, honest_set
from segcore.steps.model_files import ModelFiles, ModelRequest, find_model
from segcore.steps.run import Run


def images_of_folder(folder: Path) -> list[Scan]:
    """Scan a folder's images as a set to score on."""
    scans, failures = scan_images([SourceImage("set", p.name, folder, None) for p in sorted(folder.iterdir())], 1.0)
    assert not failures
    return scans


@pytest.fixture
def data(finished_run: Run) -> Path:
    """Return the image folder of the run."""
    return Path(finished_run.config.data.train.images)


@pytest.fixture
def mixed(tmp_path: Path, data: Path) -> Path:
    """Return 12 val images, a train image, and a pool image that was brightened and saved again."""
    folder = tmp_path / "mixed"
    shutil.copytree(data / "val", folder)
    shutil.copy(data / "train" / "000.png", folder / "train.png")
    copy = np.clip(read_image(data / "unlabeled" / "002.png").astype(int) + 15, 0, 255).astype(np.uint8)
    cv2.imwrite(str(folder / "pool.jpg"), copy)
    return folder


def outside(tmp_path: Path) -> ModelFiles:
    """Return a model that nobody knows anything of."""
    (tmp_path / "foreign").mkdir()
    for name in ("model.pth", "model_config.py"):
        (tmp_path / "foreign" / name).write_text("")
    return find_model(ModelRequest(None, str(tmp_path / "foreign" / "model.pth")))


def test_images_of_the_lineage_and_their_near_duplicates_are_left_out(finished_run: Run, mixed: Path) -> None:
    model = find_model(ModelRequest(finished_run.folder, None))
    found = honest_set(images_of_folder(mixed), model, Provenance(), 10)
    assert set(found.excluded) == {"train.png", "pool.jpg"}
    assert len(found.kept) == 12
    assert (found.num_unchecked, found.stated) == (0, False)


def test_too_few_honest_images_give_no_score(finished_run: Run, data: Path) -> None:
    model = find_model(ModelRequest(finished_run.folder, None))
    with pytest.raises(HonestScoreError, match="at least 3"):
        honest_set(images_of_folder(data / "train"), model, Provenance(foreign_unseen=True), 3)


def test_a_model_from_outside_is_scored_only_when_somebody_says_what_it_has_seen(
    tmp_path: Path, mixed: Path, data: Path
) -> None:
    scans, model = images_of_folder(mixed), outside(tmp_path)
    with pytest.raises(HonestScoreError, match="--trained-on"):
        honest_set(scans, model, Provenance(), 3)
    named = honest_set(scans, model, Provenance((str(data / "train"), str(data / "unlabeled"))), 3)
    assert set(named.excluded) == {"train.png", "pool.jpg"}
    listed = honest_set(scans, model, Provenance((f"{data / 'train.json'}:{data}",)), 3)
    assert listed.excluded == ("train.png",)
    stated = honest_set(scans, model, Provenance(foreign_unseen=True), 3)
    assert (stated.excluded, stated.stated) == ((), True)


def test_copies_of_training_images_that_are_gone_cannot_be_recognised_and_that_is_said(
    tmp_path: Path, finished_run: Run, mixed: Path, data: Path
) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(finished_run.layout.outputs_dir, folder)
    model = find_model(ModelRequest(None, str(folder / "model.pth")))
    scans = images_of_folder(mixed)
    with pytest.raises(HonestScoreError, match="cannot be recognised"):
        honest_set(scans, model, Provenance(), 3)
    stated = honest_set(scans, model, Provenance(foreign_unseen=True), 3)
    assert stated.excluded == ("train.png",), "by content it is excluded whatever is stated"
    assert stated.num_unchecked == stated.num_lineage
    folders = tuple(str(data / split) for split in ("train", "unlabeled", "test"))
    again = honest_set(scans, model, Provenance(folders), 3)
    assert set(again.excluded) == {"train.png", "pool.jpg"}
    assert again.num_unchecked == 0


def test_a_trained_on_that_is_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--trained-on"):
        honest_set([], outside(tmp_path), Provenance(("/nowhere",)), 1)
