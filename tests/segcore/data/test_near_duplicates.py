from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segcore.data.images import decode_preview
from segcore.data.near_duplicates import (
    Fingerprint,
    find_duplicates,
    find_repeats,
    fingerprint,
    group_labelled,
    orientations,
)

GARBAGE6 = Path(os.environ.get("SEGLOOP_GARBAGE6", Path(__file__).parents[4] / "shared" / "data" / "garbage6"))


def scene(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """Return (H, W, 3) uint8: blobs on a gradient, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(
        rng.integers(60, 200, (3, 3, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_LINEAR
    )
    for _ in range(8):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.circle(image, centre, int(rng.integers(10, 60)), colour, -1)
    return image


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 10, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1.5) + noise, 0, 255).astype(np.uint8)


ALTERED = {
    "the same": lambda image: image,
    "coarse JPEG": lambda image: jpeg(image, 30),
    "half size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5),
    "another aspect ratio": lambda image: cv2.resize(image, (240, 240)),
    "mirrored": lambda image: image[:, ::-1],
    "turned by 90 degrees": lambda image: np.rot90(image),
    "upside down, mirrored, JPEG": lambda image: jpeg(np.ascontiguousarray(image[::-1]), 40),
    "gamma 0.8": lambda image: (255 * (image / 255) ** 0.8).astype(np.uint8),
    "blur and noise": noisy,
    "grey": lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2GRAY),
    "a crop of 1 % a side": lambda image: image[2:-2, 3:-3],
}


@pytest.mark.parametrize("how", ALTERED)
def test_altered_copies_are_found_and_other_scenes_are_not(how: str):
    originals = [fingerprint(scene(seed)) for seed in range(12)]
    others = [fingerprint(ALTERED[how](scene(seed))) for seed in range(6, 18)]
    assert find_duplicates(originals, others) == [(6 + i, i) for i in range(6)]


def test_repeats_name_the_first_image_that_stays_and_frames_that_drift_away_stay_too():
    drift = [scene(3)[:, shift : shift + 200] for shift in range(0, 100, 2)]
    prints = [
        fingerprint(image) for image in [scene(0), scene(1), scene(0), *drift, jpeg(scene(1), 30), scene(0)[:, ::-1]]
    ]
    found = find_repeats(prints)
    assert found[2] == 0
    assert found[len(prints) - 2] == 1
    assert len(prints) - 1 not in found, "turned copies are left alone"
    first_stays = [index for index in range(3, 53) if index not in found]
    assert first_stays[0] == 3
    assert 2 <= len(first_stays) <= 25
    assert all(found[index] in first_stays for index in range(3, 53) if index in found)
    assert find_repeats([]) == {}


def test_flat_images_resemble_nothing():
    rng = np.random.default_rng(0)
    flat = [fingerprint(np.clip(rng.normal(200, 1, (64, 64)), 0, 255).astype(np.uint8)) for _ in range(3)]
    assert find_duplicates(flat, [*flat, fingerprint(np.full((64, 64), 200, np.uint8))]) == []


def test_nothing_is_found_among_nothing():
    assert find_duplicates([], [fingerprint(scene(0))]) == []
    assert find_duplicates([fingerprint(scene(0))], []) == []
    assert group_labelled([], [], []) == ()


def test_the_eight_orientations_differ():
    assert len({thumb.tobytes() for thumb in orientations(fingerprint(scene(0)).thumb)}) == 8


def test_groups_join_copies_equal_content_and_sequences_transitively():
    prints = [fingerprint(scene(0)), fingerprint(scene(1)), fingerprint(scene(0)[:, ::-1]), fingerprint(scene(2))]
    names = ["d" * 64, "c" * 64, "b" * 64, "a" * 64]
    assert group_labelled(prints, [None] * 4, names) == ("b" * 16, "c" * 16, "b" * 16, "a" * 16)
    assert group_labelled(prints, [None, "s", "s", None], names) == ("b" * 16, "b" * 16, "b" * 16, "a" * 16)
    assert group_labelled(prints[1::2], [None, None], ["e" * 64] * 2) == ("e" * 16, "e" * 16)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)))
def test_group_names_do_not_depend_on_order(order: list[int]):
    prints = [fingerprint(scene(seed % 4)) for seed in range(6)]
    names = [f"{index:064x}" for index in range(6)]
    groups = group_labelled(prints, [None] * 6, names)
    shuffled = group_labelled([prints[i] for i in order], [None] * 6, [names[i] for i in order])
    assert shuffled == tuple(groups[i] for i in order)


@pytest.mark.skipif(not GARBAGE6.is_dir(), reason="the garbage6 photos are not here")
def test_no_two_different_real_photos_are_taken_for_copies():
    paths = sorted((GARBAGE6 / "images").glob("*.jpg"))
    prints: list[Fingerprint] = [fingerprint(decode_preview(path.read_bytes(), path.name, 128)) for path in paths]
    found = [(paths[i].stem, paths[j].stem) for i, j in find_duplicates(prints, prints) if i < j]
    true_copies = [("cardboard_1154", "cardboard_2042"), ("paper_1018", "paper_444")]
    assert found == true_copies
    assert len(list(combinations(paths, 2))) == 29_161
