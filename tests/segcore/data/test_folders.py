from __future__ import annotations

import json
from pathlib import Path

import pytest

from segcore.data.folders import ListedImage, list_images
from segcore.errors import DataError


def test_a_folder_is_searched_recursively_and_hidden_files_are_left_out(tmp_path: Path):
    for name in (
        "b.JPG",
        "a/c.png",
        "a.tif",
        "notes.txt",
        "jpg",
        "a.jpg.txt",
        ".hidden.jpg",
        ".cache/x.jpg",
        "__MACOSX/y.jpg",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [image.file_name for image in list_images(tmp_path, None)] == ["a.tif", "a/c.png", "b.JPG"]


def test_a_list_says_which_images_of_a_folder_are_meant(tmp_path: Path):
    images = [{"id": 1, "file_name": "z.jpg", "width": 4, "height": 3}, {"id": 2, "file_name": "b.jpg"}]
    (tmp_path / "list.json").write_text(json.dumps({"images": images}))
    assert list_images(tmp_path, tmp_path / "list.json") == (ListedImage("b.jpg", None), ListedImage("z.jpg", (4, 3)))


def test_a_folder_that_is_missing_or_empty_is_an_error(tmp_path: Path):
    (tmp_path / "list.json").write_text('{"images": []}')
    for folder, image_list, message in [
        (tmp_path / "gone", None, "found nothing there"),
        (tmp_path / "list.json", None, "found a file there"),
        (tmp_path, None, "expected image files"),
        (tmp_path, tmp_path / "list.json", "at least one image"),
    ]:
        with pytest.raises(DataError, match=message):
            list_images(folder, image_list)
