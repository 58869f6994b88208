from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from segcore.data.classes import class_map
from segcore.data.coco import load_coco
from segcore.data.import_masks import ImportSpec, import_masks
from segcore.data.paint import paint
from segcore.errors import DataError

MASK = np.array([[0, 0, 1, 255], [0, 2, 1, 255], [0, 0, 2, 0]], np.uint8)
NAMES = ("road", "car", "tree")


def write_image(path: Path, height: int = 3, width: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


def write_mask(path: Path, mask: np.ndarray = MASK, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask)
    if mode == "P":
        image.putpalette([value % 256 for value in range(3, 3 + 768)])
    image.save(path)


def loaded(path: Path, unannotated: str = "ignore", background: str = "background") -> np.ndarray:
    file = load_coco(path)
    classes = class_map(file.categories, unannotated, background, {})  # type: ignore[arg-type]
    image = file.images[0]
    return paint(file.by_image[image.id], image.height or 0, image.width or 0, classes, 254)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_come_back_as_they_were_ignore_included(tmp_path: Path, mode: str):
    write_image(tmp_path / "images" / "sub" / "a.jpg")
    write_mask(tmp_path / "masks" / "sub" / "a.png", mode=mode)
    out = tmp_path / "out.json"
    summary = import_masks(ImportSpec(tmp_path / "images", tmp_path / "masks", out, "plain", NAMES))
    assert (summary.num_images, summary.num_annotations, summary.ignored_share) == (1, 4, 2 / 12)
    assert summary.pixels == {"road": 6, "car": 2, "tree": 2}
    np.testing.assert_array_equal(loaded(out), MASK)
    np.testing.assert_array_equal(loaded(out, "background", "road"), MASK)
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools on numpy 2
def test_pycocotools_loads_and_draws_what_is_written(tmp_path: Path):
    write_image(tmp_path / "images" / "a.jpg")
    write_mask(tmp_path / "masks" / "a.png")
    import_masks(ImportSpec(tmp_path / "images", tmp_path / "masks", tmp_path / "out.json", "plain", NAMES))
    coco = COCO(str(tmp_path / "out.json"))
    masks = [coco.annToMask(annotation) for annotation in coco.loadAnns(coco.getAnnIds())]
    np.testing.assert_array_equal(sum(masks), np.ones((3, 4)))
    assert [annotation["iscrowd"] for annotation in coco.loadAnns(coco.getAnnIds())] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("layout", "image", "mask", "values", "expected"),
    [
        ("voc", "a.jpg", "a.png", [0, 15, 20, 255], {0: 0, 1: 15, 2: 20, 3: 255}),
        ("camvid", "s_01.png", "s_01_L.png", [0, 8, 10, 11], {0: 0, 1: 8, 2: 10, 3: 255}),
        ("camvid", "s_01.png", "s_01.png", [0, 8, 10, 255], {0: 0, 1: 8, 2: 10, 3: 255}),
        ("cityscapes", "ulm/u_1_leftImg8bit.png", "ulm/u_1_gtFine_labelIds.png", [7, 26, 33, 3], [0, 13, 18, 255]),
        (
            "cityscapes",
            "ulm/u_1_leftImg8bit.png",
            "ulm/u_1_gtFine_labelTrainIds.png",
            [0, 13, 18, 255],
            [0, 13, 18, 255],
        ),
    ],
)
def test_layouts_pair_masks_with_images_and_know_their_classes(tmp_path: Path, layout, image, mask, values, expected):
    write_image(tmp_path / "images" / image, 1, 4)
    write_mask(tmp_path / "masks" / mask, np.array([values], np.uint8))
    import_masks(ImportSpec(tmp_path / "images", tmp_path / "masks", tmp_path / "out.json", layout))
    document = json.loads((tmp_path / "out.json").read_text())
    assert [entry["file_name"] for entry in document["images"]] == [image]
    assert loaded(tmp_path / "out.json")[0].tolist() == [expected[i] for i in range(4)]


def test_of_both_cityscapes_masks_the_train_ids_are_taken(tmp_path: Path):
    write_image(tmp_path / "images" / "u_leftImg8bit.png", 1, 2)
    for kind, values in (("labelIds", [7, 3]), ("labelTrainIds", [0, 255]), ("color", [9, 9]), ("instanceIds", [1, 1])):
        write_mask(tmp_path / "masks" / f"u_gtFine_{kind}.png", np.array([values], np.uint8))
    import_masks(ImportSpec(tmp_path / "images", tmp_path / "masks", tmp_path / "out.json", "cityscapes"))
    assert loaded(tmp_path / "out.json")[0].tolist() == [0, 255]


def test_images_without_a_mask_are_left_out_and_masks_without_an_image_refused(tmp_path: Path):
    for name in ("a", "b"):
        write_image(tmp_path / "images" / f"{name}.jpg")
    write_mask(tmp_path / "masks" / "a.png")
    spec = ImportSpec(tmp_path / "images", tmp_path / "masks", tmp_path / "out.json", "plain", NAMES)
    assert import_masks(spec).num_images == 1
    write_mask(tmp_path / "masks" / "c.png")
    with pytest.raises(DataError, match=r"no image for the mask c\.png"):
        import_masks(spec)


@pytest.mark.parametrize(
    ("mask", "names", "message"),
    [
        (np.full((3, 4), 9, np.uint8), NAMES, "expected values 0 to 2 or ignore, got 9"),
        (np.zeros((4, 3), np.uint8), NAMES, "expected the size of its image, 4x3, got 3x4"),
        (np.zeros((3, 4, 3), np.uint8), NAMES, "got mode RGB"),
        (MASK, None, "need class names"),
        (MASK, ("road", "ignore", "tree"), "no class may be called 'ignore'"),
    ],
)
def test_wrong_masks_are_refused_and_nothing_is_written(tmp_path: Path, mask, names, message):
    write_image(tmp_path / "images" / "a.jpg")
    write_mask(tmp_path / "masks" / "a.png", mask)
    with pytest.raises(DataError, match=message):
        import_masks(ImportSpec(tmp_path / "images", tmp_path / "masks", tmp_path / "out.json", "plain", names))
    assert not (tmp_path / "out.json").exists()
