from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from segcore.errors import DataError
from segcore.nn import predictor
from segcore.nn.full_size import ViewLogits
from segcore.nn.predictor import Predictor, prediction_of
from segcore.nn.tta import ViewSpec
from segcore.process.jobs import PredictImage
from segcore.pseudo.confidence import count_levels
from segcore.records import Quarantined

IMAGES = tuple(PredictImage(f"{number}", f"/images/{number}") for number in range(5))


def predictor_of(one_by_one: bool) -> Predictor:
    """Return a predictor whose network is never run."""
    network: Any = SimpleNamespace(out_channels=3)
    return Predictor(network, ViewSpec((64,), False, "opencv", "fp32", "cpu", 4.0), 200.0, 1, one_by_one)


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what happens, in order: an image opened, images told."""
    found: list[str] = []

    def read_image(path: Path, max_megapixels: float) -> np.ndarray:
        found.append(f"open {path.name}")
        if path.name == "2":
            raise DataError("no image")
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(predictor, "read_image", read_image)
    return found


def announce(history: list[str], one_by_one: bool) -> list[list[str]]:
    """Let IMAGES be announced; return the ids of each group."""

    def told(done: int, ids: Sequence[str]) -> None:
        history.append(f"told {' '.join(ids)} after {done}")

    groups = predictor_of(one_by_one).announced(IMAGES, told)
    return [[image.image_id for image, _ in group] for group in groups]


def test_one_by_one_each_image_is_named_before_it_is_opened_and_nothing_is_opened_ahead(history: list[str]) -> None:
    assert announce(history, one_by_one=True) == [[image.image_id] for image in IMAGES]
    assert history == [event for n in range(5) for event in (f"told {n} after {n}", f"open {n}")]


def test_else_groups_of_one_size_are_opened_ahead_and_each_is_told_before_it_is_worked_on(history: list[str]) -> None:
    assert announce(history, one_by_one=False) == [["0", "1"], ["2"], ["3", "4"]]
    assert [event for event in history if event.startswith("told")] == [
        "told 0 1 after 0",
        "told 2 after 2",
        "told 3 4 after 3",
    ]
    assert history.index("open 4") < history.index("told 0 1 after 0")


def test_an_image_that_cannot_be_opened_is_set_aside(history: list[str]) -> None:
    _, found = predictor_of(one_by_one=True).decode(IMAGES[2])
    assert found == Quarantined("2", "no image")


def test_a_prediction_has_the_histogram_of_its_own_maps_for_every_class() -> None:
    views = [torch.randn(1, 5, 6, 7, generator=torch.Generator().manual_seed(0))]
    prediction = prediction_of(IMAGES[0], ViewLogits(views, (12, 9), align_corners=False))
    assert prediction.histogram is not None
    assert (prediction.histogram == count_levels(prediction.label_map, prediction.confidence, 5)).all()
