from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from flows.cli import main
from segcore.config.load import load_config
from segcore.data.label_maps import write_label_maps
from segcore.data.sources import load_dataset
from segcore.errors import DataError
from segcore.steps.preview_augment import PreviewSpec, newest_pseudo_labels, paint_ground_truth
from segcore.store.publish import publish
from segcore.store.steps import Step

STRONG = "train.augment={copy_paste: 1, rotate_90: 0.5, strong: {cutmix: 1, cutout: 0.5}}"


@pytest.fixture
def config_path(write_tiny: Callable[[Path, str], Path], tmp_path: Path) -> Path:
    return write_tiny(tmp_path, "tiny")


def publish_pseudo_labels(run_dir: Path, round_index: int) -> Path:
    """Publish label maps of three images, of which one keeps no pixel."""
    maps = [(f"unlabeled_0/unlabeled/00{i}.png", np.full((64, 64), 255 if i == 1 else 1, np.uint8)) for i in range(3)]

    def build(work: Path) -> dict[str, int]:
        write_label_maps(work / "label_maps.arrow", maps)
        return {}

    return publish(
        run_dir, Step("filter", 1, f"round_0{round_index}/pseudo_labels", {"round": round_index}), build
    ).path


def test_the_newest_pseudo_labels_that_keep_any_pixel_are_taken(config_path: Path) -> None:
    config = load_config(config_path, ("loop.rounds=3",))
    spec = PreviewSpec(config_path.parent / "artifacts" / "tiny", Path("x.png"), num=2, seed=0)
    assert newest_pseudo_labels(config, spec) is None
    publish_pseudo_labels(spec.run_dir, 1)
    second = publish_pseudo_labels(spec.run_dir, 2)
    found = newest_pseudo_labels(config, spec)
    assert found is not None
    assert found.origin == second
    assert sorted(sample.image_id[-7:] for sample in found.samples) == ["000.png", "002.png"]
    assert all(Path(sample.path).is_file() for sample in found.samples)


def test_an_unreadable_labelled_image_is_named(config_path: Path, tmp_path: Path) -> None:
    config = load_config(config_path)
    (tmp_path / "data" / "train" / "002.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"train/002\.png"):
        paint_ground_truth(config, load_dataset(config), tmp_path / "maps.arrow", seed=0)


def test_the_command_draws_labelled_and_pseudo_labelled_images_and_leaves_the_run_folder_alone(
    config_path: Path, tmp_path: Path
) -> None:
    run_dir, out = tmp_path / "artifacts" / "tiny", tmp_path / "pictures" / "seen.png"
    publish_pseudo_labels(run_dir, 1)
    before = sorted(run_dir.rglob("*"))
    done = CliRunner().invoke(
        main, ["preview-augment", str(config_path), "--out", str(out), "--num", "3", "--set", STRONG]
    )
    assert done.exit_code == 0, done.output
    assert "3 labelled images, 2 as pseudo-labelled ones (pseudo-labels of" in done.output
    assert sorted(run_dir.rglob("*")) == before
    picture = cv2.imread(str(out))
    assert picture is not None
    assert picture.shape[1] > 8 * 192
    assert picture.shape[0] > 5 * 192
