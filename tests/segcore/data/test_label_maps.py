from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from segcore.data.label_maps import BATCH_IMAGES, LabelMaps, write_label_maps
from segcore.errors import DataError


def label_maps(count: int) -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [(f"train/{i}.jpg", rng.integers(0, 256, (3 + i % 5, 4 + i % 3), dtype=np.uint8)) for i in range(count)]


@pytest.mark.parametrize("count", [0, 1, BATCH_IMAGES, BATCH_IMAGES + 1])
def test_what_is_written_is_read_back_at_random(tmp_path: Path, count: int):
    items = label_maps(count)
    assert write_label_maps(tmp_path / "maps.arrow", iter(items)) == count
    maps = LabelMaps(tmp_path / "maps.arrow")
    assert maps.ids() == tuple(image_id for image_id, _ in items) == tuple(maps)
    assert len(maps) == count
    for image_id, label_map in reversed(items):
        assert image_id in maps
        assert maps[image_id].dtype == np.uint8
        np.testing.assert_array_equal(maps[image_id], label_map)
    maps.close()


def test_equal_label_maps_give_equal_bytes(tmp_path: Path):
    write_label_maps(tmp_path / "a.arrow", label_maps(40))
    write_label_maps(tmp_path / "b.arrow", label_maps(40))
    assert (tmp_path / "a.arrow").read_bytes() == (tmp_path / "b.arrow").read_bytes()


def test_a_copy_for_a_worker_opens_the_file_itself(tmp_path: Path):
    items = label_maps(2)
    write_label_maps(tmp_path / "maps.arrow", items)
    copy = pickle.loads(pickle.dumps(LabelMaps(tmp_path / "maps.arrow")))
    np.testing.assert_array_equal(copy["train/1.jpg"], items[1][1])


def test_an_unknown_image_is_named(tmp_path: Path):
    write_label_maps(tmp_path / "maps.arrow", label_maps(1))
    with pytest.raises(DataError, match=r"no label map for image 'val/x.jpg'"):
        LabelMaps(tmp_path / "maps.arrow")["val/x.jpg"]


def test_a_repeated_image_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="unique"):
        write_label_maps(tmp_path / "maps.arrow", label_maps(1) * 2)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 1), np.uint8), np.zeros((2, 2), np.int64), np.zeros((0, 2), np.uint8)]
)
def test_only_two_dimensional_uint8_is_a_label_map(tmp_path: Path, array: np.ndarray):
    with pytest.raises(DataError, match=r"\(H, W\) uint8"):
        write_label_maps(tmp_path / "maps.arrow", [("a", array)])


@pytest.mark.parametrize("content", [b"", b"not arrow at all", None])
def test_another_file_is_refused_with_its_name(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "maps.arrow").write_bytes(content)
    with pytest.raises(DataError, match=r"maps\.arrow"):
        LabelMaps(tmp_path / "maps.arrow")
