"""The trap this project exists to close: validation images, or copies of them, in the training set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from segcore.errors import HonestScoreError
from segcore.records import Checkpoint
from segcore.steps.evaluate import EvaluateSpec, scoring_images
from segcore.steps.index import Index, images_of, index_images
from segcore.steps.run import Run, open_run
from segcore.trust.lineage import extend


def copy_val_into_train(data: Path, num: int) -> None:
    """Put the first val images, with their labels, into train under new names."""
    train, val = (json.loads((data / f"{name}.json").read_text()) for name in ("train", "val"))
    for image in val["images"][:num]:
        name = f"train/from_val_{image['id']}.png"
        shutil.copyfile(data / image["file_name"], data / name)
        train["images"].append({**image, "id": 1000 + image["id"], "file_name": name})
        for annotation in val["annotations"]:
            if annotation["image_id"] == image["id"]:
                fresh = {"id": 1000 + annotation["id"], "image_id": 1000 + image["id"]}
                train["annotations"].append({**annotation, **fresh})
    (data / "train.json").write_text(json.dumps(train))


def trained_on_train(run: Run, index: Index) -> EvaluateSpec:
    """Return the evaluation of a student whose lineage is the train images."""
    lineage = extend(None, images_of(run, index, "train"), ())
    lineage.write(run.path / "lineage.json")
    return EvaluateSpec(
        run, index, Checkpoint("model.pth", "0" * 64, "config.py", "lineage.json"), "round_00/evaluation"
    )


def test_copies_of_val_images_in_train_are_excluded_and_counted(
    tmp_path: Path, write_tiny: Callable[[Path, str], Path]
) -> None:
    config = write_tiny(tmp_path, "leaky")
    copy_val_into_train(tmp_path / "data", num=4)
    with open_run(str(config)) as run:
        index = index_images(run)
        copied = {f"val/val/{number:03d}.png" for number in range(4)}
        gate = {image.image_id for image in images_of(run, index, "gate")}
        kept, excluded = scoring_images(trained_on_train(run, index))
        assert {image.image_id for image in excluded} == copied & gate
        assert {image.image_id for image in kept} == gate - copied


def test_a_score_is_refused_when_too_few_honest_images_are_left(
    tmp_path: Path, write_tiny: Callable[[Path, str], Path]
) -> None:
    config = write_tiny(tmp_path, "leaky")
    copy_val_into_train(tmp_path / "data", num=12)
    with open_run(str(config)) as run:
        index = index_images(run)
        with pytest.raises(HonestScoreError, match="at least 3 images"):
            scoring_images(trained_on_train(run, index))


def test_without_copies_every_gate_image_scores(tmp_path: Path, write_tiny: Callable[[Path, str], Path]) -> None:
    with open_run(str(write_tiny(tmp_path, "clean"))) as run:
        index = index_images(run)
        kept, excluded = scoring_images(trained_on_train(run, index))
        assert len(kept) == index.num_images["gate"]
        assert not excluded
