from __future__ import annotations

import copy
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from segcore.config.data_schema import PoolConfig
from segcore.data.index import build_index, image_roots, index_inputs
from segcore.data.label_maps import LabelMaps
from segcore.data.roles import pool_images, read_images
from segcore.errors import DataError
from segcore.store.canonical import canonical_json
from segcore.store.hash_memo import HashMemo


@pytest.fixture
def memo(tmp_path: Path) -> HashMemo:
    return HashMemo(tmp_path)


def build(tiny, out: Path, **fields):
    out.mkdir(exist_ok=True)
    summary = build_index(tiny.config(**fields), out)
    return summary, {image.image_id: image for image in read_images(out / "images.parquet")}


def test_an_index_holds_every_image_with_its_role_and_its_ground_truth(tiny, tmp_path: Path):
    summary, images = build(tiny, tmp_path / "index")
    assert summary.num_images == {"calib": 2, "gate": 4, "test": 2, "train": 4, "unlabeled": 3}
    assert Counter(image.role for image in images.values()) == summary.num_images
    assert list(images) == sorted(images)
    image = images["unlabeled_0/001.jpg"]
    assert (image.width, image.height, image.source, image.file_name) == (64, 48, "unlabeled_0", "001.jpg")
    maps = LabelMaps(tmp_path / "index" / "ground_truth.arrow")
    assert maps.ids() == tuple(i for i, image in images.items() if image.source in ("train", "val"))
    assert [int((maps["train/001.jpg"] == class_id).sum()) for class_id in (0, 1, 2)] == [64 * 48 - 100, 0, 100]
    assert summary.class_names == ("background", "can", "bottle")
    maps.close()


def test_class_ids_and_pixels_are_counted_by_role(tiny, tmp_path: Path):
    summary, _ = build(tiny, tmp_path / "index")
    classes = json.loads((tmp_path / "index" / "classes.json").read_text())
    assert classes["names"] == ["background", "can", "bottle"]
    assert classes["category_ids"] == [None, 3, 7]
    assert summary.class_pixels["train"] == (4 * 64 * 48 - 400, 200, 200)
    written = json.loads((tmp_path / "index" / "summary.json").read_text())
    assert written["class_pixels"]["train"] == [4 * 64 * 48 - 400, 200, 200]
    assert written["ignored_pixels"]["train"] == 0


def test_unannotated_pixels_may_be_ignored(tiny, tmp_path: Path):
    summary, _ = build(tiny, tmp_path / "index", unannotated="ignore")
    assert summary.class_names == ("can", "bottle")
    assert summary.class_pixels["train"] == (200, 200)
    assert summary.ignored_pixels["train"] == 4 * 64 * 48 - 400


def test_building_twice_gives_equal_bytes(tiny, tmp_path: Path):
    build(tiny, tmp_path / "a")
    tiny.documents["train"]["images"].reverse()
    tiny.documents["val"]["annotations"].reverse()
    build(tiny, tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_bad_pool_images_are_quarantined_and_the_rest_goes_on(tiny, tmp_path: Path):
    folder = tiny.root / "unlabeled"
    data = (folder / "000.jpg").read_bytes()
    (folder / "000.jpg").write_bytes(data[: len(data) // 2])
    (folder / "note.png").write_text("no image")
    tiny.documents["test"]["images"].append({"id": 99, "file_name": "gone.jpg", "width": 64, "height": 48})
    tiny.documents["test"]["images"][0]["width"] = 63
    summary, images = build(tiny, tmp_path / "index")
    reasons = {item.image_id: item.reason for item in summary.quarantined}
    assert set(reasons) == {"unlabeled_0/000.jpg", "unlabeled_0/note.png", "test/gone.jpg", "test/000.jpg"}
    assert "ends early" in reasons["unlabeled_0/000.jpg"]
    assert "content is none" in reasons["unlabeled_0/note.png"]
    assert "No such file" in reasons["test/gone.jpg"]
    assert "says 63x48, the image is 64x48" in reasons["test/000.jpg"]
    assert not set(reasons) & set(images)


def test_a_source_without_a_usable_image_is_an_error(tiny, tmp_path: Path):
    for path in (tiny.root / "test").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"data\.test: none of its images is usable: 2 problems"):
        build(tiny, tmp_path / "index")


def test_every_bad_labelled_image_is_named_at_once(tiny, tmp_path: Path):
    (tiny.root / "train" / "001.jpg").unlink()
    (tiny.root / "val" / "003.jpg").write_bytes(b"\xff\xd8 broken")
    with pytest.raises(DataError) as caught:
        build(tiny, tmp_path / "index")
    assert "2 problems" in str(caught.value)
    assert "001.jpg" in str(caught.value)
    assert "003.jpg" in str(caught.value)


def test_copies_of_labelled_images_stay_out_of_the_pool(tiny, tmp_path: Path):
    shutil.copy(tiny.root / "val" / "000.jpg", tiny.root / "unlabeled" / "copy.jpg")
    mirrored = cv2.imread(str(tiny.root / "train" / "002.jpg"))[:, ::-1]
    cv2.imwrite(str(tiny.root / "unlabeled" / "mirrored.jpg"), mirrored)
    shutil.copy(tiny.root / "unlabeled" / "001.jpg", tiny.root / "unlabeled" / "twice.jpg")
    shutil.copy(tiny.root / "test" / "001.jpg", tiny.root / "unlabeled" / "test.jpg")
    shutil.copy(tiny.root / "val" / "001.jpg", tiny.root / "test" / "000.jpg")
    summary, images = build(tiny, tmp_path / "index")
    assert {item.image_id: item.reason for item in summary.dropped} == {
        "unlabeled_0/copy.jpg": "near-duplicate of the labelled image val/000.jpg",
        "unlabeled_0/mirrored.jpg": "near-duplicate of the labelled image train/002.jpg",
        "unlabeled_0/twice.jpg": "same content as unlabeled_0/001.jpg",
        "unlabeled_0/test.jpg": "same content as test/001.jpg",
    }
    assert [item.image_id for item in summary.barred] == ["test/000.jpg"]
    assert images["test/000.jpg"].role == "test"
    assert images["test/000.jpg"].group == images["val/001.jpg"].group
    pool = {image.image_id for image in pool_images(images.values(), PoolConfig())}
    assert pool == {"test/001.jpg", *(f"unlabeled_0/00{i}.jpg" for i in range(3))}


def test_frames_that_repeat_one_another_are_dropped_from_the_pool_only_where_that_is_asked_for(tiny, tmp_path: Path):
    frame = cv2.imread(str(tiny.root / "unlabeled" / "001.jpg"))
    for folder, brighter in (("unlabeled", 12), ("test", 9)):
        image = np.clip(frame.astype(int) + brighter, 0, 255).astype(np.uint8)
        cv2.imwrite(str(tiny.root / folder / "frame.jpg"), image)
    tiny.documents["test"]["images"].append({"id": 99, "file_name": "frame.jpg", "width": 64, "height": 48})
    summary, _ = build(tiny, tmp_path / "kept")
    assert summary.dropped == ()
    summary, images = build(tiny, tmp_path / "dropped", pool={"drop_near_duplicates": True})
    assert {item.image_id: item.reason for item in summary.dropped} == {
        "unlabeled_0/001.jpg": "near-duplicate of the pool image test/frame.jpg",
        "unlabeled_0/frame.jpg": "near-duplicate of the pool image test/frame.jpg",
    }
    assert [name for name in images if name.startswith(("test", "unlabeled"))] == [
        "test/000.jpg", "test/001.jpg", "test/frame.jpg", "unlabeled_0/000.jpg", "unlabeled_0/002.jpg",
    ]  # fmt: skip


def test_val_copied_into_train_shares_its_groups(tiny, tmp_path: Path):
    for index in range(3):
        shutil.copy(tiny.root / "val" / f"00{index}.jpg", tiny.root / "train" / f"00{index}.jpg")
    summary, images = build(tiny, tmp_path / "index")
    assert summary.num_resembling_train == 3
    for index in range(4):
        same = images[f"val/00{index}.jpg"].group == images[f"train/00{index}.jpg"].group
        assert same == (index < 3)


def test_labels_on_test_make_a_report_set(tiny, tmp_path: Path):
    labelled = copy.deepcopy(tiny.documents["train"])
    labelled["images"], labelled["annotations"] = labelled["images"][:1], labelled["annotations"][:1]
    (tiny.root / "labels.json").write_text(json.dumps(labelled))
    summary, images = build(tiny, tmp_path / "index", test_labels=tiny.root / "labels.json")
    assert images["test/000.jpg"].role == "report"
    assert images["test/001.jpg"].role == "test"
    assert summary.class_pixels["report"] == (64 * 48 - 100, 100, 0)


def test_frames_of_a_sequence_are_one_group_and_video_ids_count_within_a_file(tiny, tmp_path: Path):
    for source in ("train", "val"):
        for entry in tiny.documents[source]["images"][:2]:
            entry["video_id"] = 1
    tiny.documents["val"]["images"][2]["sequence"] = tiny.documents["train"]["images"][3]["sequence"] = "walk"
    _, images = build(tiny, tmp_path / "index")
    group = {image_id: image.group for image_id, image in images.items()}
    assert group["train/000.jpg"] == group["train/001.jpg"] != group["val/000.jpg"] == group["val/001.jpg"]
    assert group["val/002.jpg"] == group["train/003.jpg"]


def test_an_image_turned_by_exif_gets_a_label_map_of_its_shape(tiny, tmp_path: Path):
    from PIL import Image

    path = tiny.root / "train" / "000.jpg"
    with Image.open(path) as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    _, images = build(tiny, tmp_path / "index")
    assert (images["train/000.jpg"].width, images["train/000.jpg"].height) == (48, 64)
    maps = LabelMaps(tmp_path / "index" / "ground_truth.arrow")
    can = np.argwhere(maps["train/000.jpg"] == 1)
    assert can.min(axis=0).tolist() == [4, 48 - 16]  # stored at x 4, y 6..15; turned clockwise, y becomes 48 - 1 - y
    maps.close()


def test_images_a_given_teacher_saw_are_matched_with_labelled_ones(tiny, tmp_path: Path):
    seen = tiny.root / "seen"
    seen.mkdir()
    cv2.imwrite(str(seen / "a.png"), cv2.imread(str(tiny.root / "val" / "004.jpg")))
    shutil.copy(tiny.root / "test" / "000.jpg", seen / "b.jpg")
    teacher = {"checkpoint": "t.pth", "config": "t.py", "trained_on": [{"images": seen}]}
    _, images = build(tiny, tmp_path / "index", teacher=teacher)
    found = json.loads((tmp_path / "index" / "teacher_images.json").read_text())
    assert {group for _, group in found} == {images["val/004.jpg"].group, images["test/000.jpg"].group}
    assert images["test/000.jpg"].sha256 in {sha256 for sha256, _ in found}


def test_image_roots_name_the_folder_of_every_source(tiny):
    assert image_roots(tiny.config()) == {
        "train": tiny.root / "train",
        "val": tiny.root / "val",
        "unlabeled_0": tiny.root / "unlabeled",
        "test": tiny.root / "test",
    }


def change_image(tiny):
    path = tiny.root / "unlabeled" / "002.jpg"
    path.write_bytes(path.read_bytes() + b"\0")


def change_label(tiny):
    tiny.documents["val"]["annotations"][0]["segmentation"][0][0] += 1


@pytest.mark.parametrize("change", [change_image, change_label, lambda tiny: (tiny.root / "test/001.jpg").unlink()])
def test_the_step_key_changes_with_content(tiny, memo, change):
    before = canonical_json(index_inputs(tiny.config(), memo))
    assert canonical_json(index_inputs(tiny.config(), memo)) == before
    change(tiny)
    assert canonical_json(index_inputs(tiny.config(), memo)) != before


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({"unannotated": "ignore"}, True),
        ({"background": "floor"}, True),
        ({"palette": {"can": (1, 2, 3)}}, True),
        ({"roles": {"seed": 5}}, True),
        ({"roles": {"min_gate_images": 5}}, False),
        ({"max_megapixels": 1.0}, True),
    ],
)
def test_the_step_key_holds_what_decides_on_the_index(tiny, memo, fields, changes):
    before = canonical_json(index_inputs(tiny.config(), memo))
    assert (canonical_json(index_inputs(tiny.config(**fields), memo)) != before) == changes


def test_the_step_key_holds_no_place(tiny, memo, tmp_path: Path):
    before = canonical_json(index_inputs(tiny.config(), memo))
    assert str(tmp_path) not in before
    tiny.root = Path(shutil.move(tiny.root, tmp_path / "moved"))
    assert canonical_json(index_inputs(tiny.config(), memo)) == before


def test_pipes_loops_and_names_that_are_no_text_are_quarantined_and_do_not_hang(tiny, memo, tmp_path: Path):
    folder = tiny.root / "unlabeled"
    os.mkfifo(folder / "pipe.jpg")
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / os.fsdecode(b"\xff.jpg")).write_bytes((folder / "001.jpg").read_bytes())
    summary, images = build(tiny, tmp_path / "index")
    assert len(summary.quarantined) == 3
    written = json.loads((tmp_path / "index" / "summary.json").read_text())
    assert [item["image_id"] for item in written["quarantined"]] == [item.image_id for item in summary.quarantined]
    assert len(images) == 15
    canonical_json(index_inputs(tiny.config(), memo))
