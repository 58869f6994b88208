from __future__ import annotations

import json
import posixpath
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segcore.data.coco import load_coco, normal_name
from segcore.data.images import file_name_problem
from segcore.errors import DataError

TRIANGLE = [[1, 1, 5, 1, 5, 5]]


def document() -> dict[str, Any]:
    return {
        "images": [
            {"id": 9, "file_name": "./b/c.jpg", "width": 8, "height": 6, "video_id": 4},
            {"id": 2, "file_name": "a.jpg", "width": 8, "height": 6, "sequence": "walk"},
        ],
        "categories": [
            {"id": 40, "name": "can"},
            {"id": 5, "name": "bottle"},
            {"id": 41, "name": "x", "segloop": {"ignore": True}},
        ],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 40, "segmentation": TRIANGLE, "iscrowd": 0},
            {
                "id": 7,
                "image_id": 9,
                "category_id": 5,
                "segmentation": {"size": [6, 8], "counts": [40, 8]},
                "iscrowd": 1,
            },
        ],
    }


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_file_with_gaps_crowds_and_images_without_annotations_is_loaded(tmp_path: Path):
    file = load_coco(write(tmp_path / "a.json", document()))
    assert [(image.id, image.file_name, image.sequence) for image in file.images] == [
        (9, "b/c.jpg", "video_id:4"),
        (2, "a.jpg", "sequence:walk"),
    ]
    assert [(c.id, c.name, c.ignore) for c in file.categories] == [
        (5, "bottle", False),
        (40, "can", False),
        (41, "x", True),
    ]
    assert [annotation.is_crowd for annotation in file.by_image[9]] == [False, True]
    assert file.by_image[2] == ()


def test_an_image_list_needs_neither_sizes_nor_categories(tmp_path: Path):
    file = load_coco(write(tmp_path / "a.json", {"images": [{"id": 1, "file_name": "a.jpg"}]}), labelled=False)
    assert (file.images[0].width, file.categories, file.annotations) == (None, (), ())


def test_a_byte_order_mark_does_no_harm(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document()), encoding="utf-8-sig")
    assert len(load_coco(path).images) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [\n  {"id": 1,}]}', "line 2 column 12"),
        ("", "not valid JSON, line 1 column 1"),
        ("[]", "expected a JSON object with images and annotations, got a list"),
        ("[" * 100_000, "nested too deeply"),
        ('{"images": ' + "1" * 5000 + "}", "digits"),
    ],
)
def test_what_is_no_json_object_is_refused_with_its_place(tmp_path: Path, content: str, message: str):
    with pytest.raises(DataError, match=message):
        load_coco(write(tmp_path / "a.json", content))


def test_a_missing_file_and_other_encodings_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"gone\.json.*No such file"):
        load_coco(tmp_path / "gone.json")
    (tmp_path / "latin.json").write_bytes('{"é": 1}'.encode("latin-1"))
    with pytest.raises(DataError, match="expected UTF-8"):
        load_coco(tmp_path / "latin.json")


CHANGES: list[tuple[tuple[Any, ...], Any, str]] = [
    (("images",), None, "images must be a list, got NoneType"),
    (("images", 0), 5, r"images\[0\] must be an object, got int"),
    (("images", 0, "id"), "9", r"images\[0\]: id must be a whole number, got '9'"),
    (("images", 0, "id"), True, "whole number, got True"),
    (("images", 0, "id"), 2, "the id 2 is used twice in images"),
    (("images", 0, "file_name"), "../x.jpg", "stay inside"),
    (("images", 0, "file_name"), "a.jpg", "'a.jpg' is listed twice"),
    (("images", 0, "width"), None, "width must be a whole number above 0, got None"),
    (("images", 0, "height"), 0, "height must be a whole number above 0, got 0"),
    (("categories", 0, "name"), "", "name must be a non-empty text"),
    (("categories", 0, "name"), "bottle", "the name 'bottle' is used twice"),
    (("categories", 0, "id"), 5, "the id 5 is used twice in categories"),
    (("annotations",), {}, "annotations must be a list, got dict"),
    (("annotations", 0, "id"), 7, "the id 7 is used twice in annotations"),
    (("annotations", 0, "image_id"), 3, r"\(id 1\): image_id must be the id of an image in this file, got 3"),
    (("annotations", 0, "category_id"), 3, r"category_id must be one of \[5 bottle, 40 can, 41 x\], got 3"),
    (("annotations", 0, "segmentation"), [[90, 9, 95, 9, 95, 12]], "of image b/c.jpg: a polygon lies outside"),
    (("annotations", 0, "segmentation"), None, "segmentation must be"),
]


@pytest.mark.parametrize(("place", "value", "message"), CHANGES)
def test_every_wrong_record_is_named(tmp_path: Path, place: tuple[Any, ...], value: Any, message: str):
    changed = document()
    target: Any = changed
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    with pytest.raises(DataError, match=message):
        load_coco(write(tmp_path / "a.json", changed))


def test_all_problems_of_a_file_come_in_one_error_twenty_of_them_in_full(tmp_path: Path):
    changed = document()
    changed["annotations"] = [{"id": i, "image_id": 77, "category_id": 5} for i in range(30)]
    with pytest.raises(DataError) as caught:
        load_coco(write(tmp_path / "a.json", changed))
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("a.json: 30 problems")
    assert len(lines) == 22
    assert lines[-1] == "  … and 10 more"


@given(st.text("ab./", min_size=1, max_size=12).filter(lambda name: file_name_problem(name) is None))
def test_a_file_name_has_one_spelling(name: str) -> None:
    assert normal_name(name) == posixpath.normpath(name)
