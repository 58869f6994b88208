"""The drawn demo data: valid COCO, deterministic, and what its description promises."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from segcore.data.demo_backgrounds import GROUNDS, draw_ground
from segcore.data.demo_data import SPLITS, DemoSpec, demo_scene, draw_demo_data, run_length_counts
from segcore.data.demo_objects import CLASS_NAMES, DRAW, NUM_STYLES
from segcore.data.demo_scene import ANY_DAY, FIRST_DAY, draw_scene
from segcore.errors import DataError

# pycocotools' decode does not know numpy 2's copy keyword yet
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

TINY = DemoSpec(num_train=3, num_val=2, num_test=2, num_unlabeled=3, size=64, threads=2)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    draw_demo_data(out, TINY)
    return out


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_split_has_its_images_and_only_train_and_val_have_labels(tiny: Path) -> None:
    for split in SPLITS:
        content = read(tiny / f"{split}.json")
        assert len(content["images"]) == TINY.count(split)
        assert bool(content["annotations"]) == (split in ("train", "val"))
        for image in content["images"]:
            picture = cv2.imread(str(tiny / "images" / image["file_name"]))
            assert picture is not None
            assert picture.shape == (image["height"], image["width"], 3) == (64, 64, 3)


def test_the_oracle_labels_exactly_pool_and_test(tiny: Path) -> None:
    names = {image["file_name"] for image in read(tiny / "oracle.json")["images"]}
    assert names == {
        image["file_name"] for split in ("test", "unlabeled") for image in read(tiny / f"{split}.json")["images"]
    }


def test_annotations_decode_to_the_label_map_that_was_drawn(tiny: Path) -> None:
    content = read(tiny / "val.json")
    for index, image in enumerate(content["images"]):
        painted = np.zeros((64, 64), np.uint8)
        for annotation in content["annotations"]:
            if annotation["image_id"] == image["id"]:
                rle = coco_mask.frPyObjects(annotation["segmentation"], 64, 64)
                mask = coco_mask.decode(rle).astype(bool)
                painted[mask] = annotation["category_id"]
                assert int(mask.sum()) == annotation["area"]
                assert coco_mask.toBbox(rle).tolist() == annotation["bbox"]
        np.testing.assert_array_equal(painted, demo_scene(TINY, "val", index).label_map)


def test_equal_seeds_draw_equal_files_in_any_order_and_number(tiny: Path, tmp_path: Path) -> None:
    draw_demo_data(
        tmp_path / "again", DemoSpec(num_train=3, num_val=2, num_test=2, num_unlabeled=4, size=64, threads=1)
    )
    first, second = digests(tiny), digests(tmp_path / "again")
    assert {name: second[name] for name in first if name.startswith("images/")} == {
        name: digest for name, digest in first.items() if name.startswith("images/")
    }
    assert first["train.json"] == second["train.json"]
    draw_demo_data(tmp_path / "again", TINY)
    assert read(tmp_path / "again" / "oracle.json") == read(tiny / "oracle.json")


def test_another_seed_draws_other_pictures() -> None:
    one, two = (demo_scene(DemoSpec(seed=seed, size=64), "train", 0).image for seed in (0, 1))
    assert not np.array_equal(one, two)


def test_a_smaller_data_set_drawn_over_a_larger_one_leaves_no_stale_image(tmp_path: Path) -> None:
    draw_demo_data(tmp_path, TINY)
    draw_demo_data(tmp_path, DemoSpec(num_train=1, num_val=1, num_test=1, num_unlabeled=1, size=64))
    assert len(list((tmp_path / "images").iterdir())) == 4


@pytest.mark.parametrize("setting", [FIRST_DAY, ANY_DAY], ids=["first day", "any day"])
def test_scenes_hold_objects_and_background_of_a_plausible_share(setting: Any) -> None:
    scenes = [draw_scene(np.random.default_rng([9, index]), setting, 64) for index in range(12)]
    labels = np.stack([scene.label_map for scene in scenes])
    assert labels.max() <= len(CLASS_NAMES)
    assert 0.5 < (labels == 0).mean() < 0.95
    assert all(scene.image.dtype == np.uint8 and scene.image.std() > 5 for scene in scenes)
    for scene in scenes:  # one class per instance
        for number in np.unique(scene.instances):
            assert len(np.unique(scene.label_map[scene.instances == number])) == 1


@pytest.mark.parametrize("name", GROUNDS)
def test_every_ground_is_finite_and_not_flat(name: str) -> None:
    ground = draw_ground(name, np.random.default_rng(0), 96)
    assert ground.albedo.shape == (96, 96, 3)
    assert ground.height.shape == (96, 96)
    assert ground.albedo.dtype == ground.height.dtype == np.float32
    assert np.isfinite(ground.albedo).all()
    assert ground.albedo.std() > 0.01


@pytest.mark.parametrize("style", range(NUM_STYLES))
@pytest.mark.parametrize("name", CLASS_NAMES)
def test_every_style_of_every_class_can_be_drawn_new_and_crushed(name: str, style: int) -> None:
    for crush in (0.0, 1.0):
        sprite = DRAW[name](np.random.default_rng([style, 5]), 60.0, style, crush)
        shape = sprite.cover.shape
        assert sprite.albedo.shape == (*shape, 3)
        assert sprite.opacity.shape == sprite.height.shape == shape
        for layer in (sprite.albedo, sprite.cover, sprite.opacity, sprite.height):
            assert layer.dtype == np.float32
            assert np.isfinite(layer).all()
        assert 0.1 < sprite.cover.mean() < 0.98


@given(arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)))
@settings(max_examples=60, deadline=None)
def test_run_lengths_are_what_pycocotools_reads(mask: np.ndarray) -> None:
    height, width = mask.shape
    counts = run_length_counts(mask)
    assert sum(counts) == mask.size
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    np.testing.assert_array_equal(coco_mask.decode(rle).astype(bool), mask)


@given(st.sampled_from(["num_train", "num_val", "num_test", "num_unlabeled"]), st.integers(-3, 0))
@settings(max_examples=8, deadline=None)
def test_an_empty_split_is_refused(field: str, number: int) -> None:
    with pytest.raises(DataError, match=field):
        DemoSpec(**{field: number})


@pytest.mark.parametrize(("field", "value"), [("size", 16), ("size", 5000), ("first_day_share", 1.5)])
def test_values_out_of_range_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(DataError, match=field):
        DemoSpec(**{field: value})  # type: ignore[arg-type]


def test_a_folder_with_other_files_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"thesis\.txt"):
        draw_demo_data(tmp_path, TINY)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]
