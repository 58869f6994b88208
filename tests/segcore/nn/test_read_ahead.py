from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import cv2
import numpy as np
import pytest

from segcore.nn import read_ahead
from segcore.nn.read_ahead import Reader, Room
from segcore.process.jobs import PredictImage
from segcore.records import Quarantined

SHAPES = [(20, 30), (40, 40), (1, 5), (64, 64), (30, 20)] * 3


@pytest.fixture
def images(tmp_path: Path) -> list[PredictImage]:
    """Return images of which each has its own number as its colour."""
    found = []
    for index, shape in enumerate(SHAPES):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((*shape, 3), index, np.uint8))
        found.append(PredictImage(str(index), str(tmp_path / f"{index}.png")))
    return found


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize("num_bytes", [1, 5000, 1 << 30])
def test_images_come_in_order_however_little_room_there_is(
    images: list[PredictImage], monkeypatch: pytest.MonkeyPatch, num_threads: int, num_bytes: int
) -> None:
    monkeypatch.setattr(read_ahead, "MAX_BYTES_AHEAD", num_bytes)
    for index, (image, pixels) in enumerate(Reader(200.0, num_threads).ahead(images)):
        assert image.image_id == str(index)
        assert not isinstance(pixels, Quarantined)
        assert pixels.shape == (*SHAPES[index], 3)
        assert (pixels == index).all()


def test_what_is_no_image_is_set_aside_in_its_place(images: list[PredictImage], tmp_path: Path) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    asked = [images[0], PredictImage("torn", str(tmp_path / "torn.jpg")), PredictImage("none", "/none.png"), images[1]]
    found = [pixels for _, pixels in Reader(200.0, 2).ahead(asked)]
    assert [isinstance(pixels, Quarantined) for pixels in found] == [False, True, True, False]
    assert isinstance(found[1], Quarantined)
    assert "torn.jpg" in found[1].reason


def test_an_image_over_the_cap_is_set_aside(images: list[PredictImage]) -> None:
    ((_, found),) = Reader(0.001, 1).ahead([images[3]])
    assert isinstance(found, Quarantined)
    assert "megapixels" in found.reason


def test_stopping_early_leaves_no_thread_waiting(images: list[PredictImage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "MAX_BYTES_AHEAD", 1)
    before = threading.active_count()
    decoded = Reader(200.0, 3).ahead(images)
    next(decoded)
    decoded.close()
    assert threading.active_count() == before


def test_beyond_the_room_there_is_only_the_turn_that_is_due_is_let_in() -> None:
    room = Room(100)
    room.enter(0, 60)
    with ThreadPoolExecutor(3) as pool:
        try:
            first, second = pool.submit(room.enter, 1, 60), pool.submit(room.enter, 2, 150)
            assert not wait([first, second], timeout=0.2).done
            room.taken_out(0, pool.submit(lambda: (PredictImage("", ""), Quarantined("", ""))))
            first.result(timeout=10)
            assert not wait([second], timeout=0.2).done
            taken = pool.submit(room.taken_out, 2, second)  # type: ignore[arg-type]
            taken.result(timeout=10)
            assert room.left == 40
        finally:
            room.open_wide()
