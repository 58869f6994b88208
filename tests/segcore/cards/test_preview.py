import base64
import re

import cv2
import numpy as np
import pytest

from segcore.cards.preview import MAX_CARD_CHARS, MAX_PICTURE_CHARS, from_least_to_most, preview_card
from segcore.outputs.report_data import Overlay
from segcore.records import ClassMap

CLASSES = ClassMap(("background", "paper|cup", "can"), ((0, 0, 0), (200, 40, 40), (40, 40, 200)), (None, 1, 2))


def overlay_of(title, kept_rows, shape=(400, 600)):
    """Return a noisy picture, which is the largest a JPEG can get, labelled in its upper rows."""
    rng = np.random.default_rng(0)
    label_map = np.full(shape, 255, np.uint8)
    label_map[:kept_rows] = rng.integers(0, 2, (kept_rows, shape[1]))
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    return Overlay(title, image, label_map, None, rng.random(shape, np.float32))


@pytest.mark.parametrize(
    ("num", "chosen"), [(5, ["i0", "i2", "i4", "i7", "i9"]), (2, ["i0", "i9"]), (99, [f"i{n}" for n in range(10)])]
)
def test_previews_range_from_the_least_covered_to_the_most(num, chosen):
    maps = {}
    for number in reversed(range(10)):
        maps[f"i{number}"] = np.full((10, 4), 255, np.uint8)
        maps[f"i{number}"][:number] = 1
    assert from_least_to_most(maps, num) == chosen


def test_a_card_shows_each_image_with_its_label_and_confidence_least_covered_first():
    card = preview_card([overlay_of("b_whole", 400), overlay_of("a_half", 200)], CLASSES)
    rows = card.splitlines()[2:4]
    assert [row.split(" | ")[0] for row in rows] == ["| a\\_half<br>50.0 % kept", "| b\\_whole<br>100.0 % kept"]
    for row in rows:
        pictures = [cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
                    for data in re.findall(r"base64,([^)]+)\)", row)]  # fmt: skip
        assert [picture.shape for picture in pictures] == [(107, 160, 3)] * 3


def test_the_legend_names_the_classes_that_are_there():
    card = preview_card([overlay_of("a", 400)], CLASSES)
    assert "paper\\|cup" in card
    assert "| can |" not in card
    assert "Striped: ignored" in card


def test_a_card_stays_small_whatever_the_pictures_hold():
    card = preview_card([overlay_of(f"{number:02d}", 200, (300, 300)) for number in range(12)], CLASSES)
    assert max(len(uri) for uri in re.findall(r"\((data:[^)]+)\)", card)) <= MAX_PICTURE_CHARS
    assert len(card) <= MAX_CARD_CHARS
    assert card.count("% kept") >= 3
