from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from segcore.errors import DataError, StepError
from segcore.nn import read_ahead
from segcore.nn.batch_size import CPU_LOGITS_BYTES, GroupLimit
from segcore.nn.lanes import TURNS, Lanes
from segcore.nn.passes import PassBudget
from segcore.nn.predictor import Predictor
from segcore.nn.read_ahead import Reader
from segcore.nn.tta import ViewSpec
from segcore.process.jobs import PredictImage, PredictRequest
from segcore.pseudo.predictions import Prediction, read_predictions
from segcore.records import Quarantined

from .conftest import draw
from .small_teachers import small_teacher

IMAGES = tuple(PredictImage(f"{number}", f"/images/{number}") for number in range(5))
SIZES = [(70, 90), (90, 70), (64, 64), (100, 100), (33, 120), (70, 91), (140, 180)]
VIEWS = (64, 96)
TWO_TOGETHER = PassBudget(2 * 2 * 96 * 96)


def predictor_of(
    budget: PassBudget,
    one_by_one: bool = False,
    on_pass: Callable[[Tensor], None] = lambda inputs: None,
    num_lanes: int = 1,
) -> Predictor:
    """Return a predictor of two views and their mirror images, whose network is a small convolution."""
    spec = ViewSpec(VIEWS, True, "opencv", "fp32", "cpu")
    teachers = (small_teacher(3, on_pass=on_pass),)
    limit = GroupLimit(spec, teachers, CPU_LOGITS_BYTES)
    return Predictor(teachers, spec, Reader(200.0, 2), budget, limit, one_by_one, Lanes(num_lanes))


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what happens, in order: an image opened, images told."""
    found: list[str] = []

    def read_image(path: Path, max_megapixels: float) -> np.ndarray:
        found.append(f"open {path.name}")
        if path.name == "2":
            raise DataError("no image")
        return np.zeros((8, 8, 3), np.uint8)

    class Header:
        width = height = 8

    monkeypatch.setattr(read_ahead, "read_image", read_image)
    monkeypatch.setattr(read_ahead, "probe_image", lambda path, max_megapixels: Header)
    return found


def announce(history: list[str], budget: PassBudget, one_by_one: bool) -> list[list[str]]:
    """Let IMAGES be announced; return the ids of each group."""

    def told(done: int, ids: Sequence[str]) -> None:
        history.append(f"told {' '.join(ids)} after {done}")

    groups = predictor_of(budget, one_by_one).announced(IMAGES, told)
    return [[image.image_id for image, _ in group] for group in groups]


def test_one_by_one_each_image_is_named_before_it_is_opened_and_nothing_is_opened_ahead(history: list[str]) -> None:
    assert announce(history, TWO_TOGETHER, one_by_one=True) == [[image.image_id] for image in IMAGES]
    assert history == [event for n in range(5) for event in (f"told {n} after {n}", f"open {n}")]


def test_else_groups_are_opened_ahead_and_each_is_told_before_it_is_worked_on(history: list[str]) -> None:
    assert announce(history, TWO_TOGETHER, one_by_one=False) == [["0", "1", "2", "3"], ["4"]]
    told = [event for event in history if event.startswith("told")]
    assert told == ["told 0 1 2 3 after 0", "told 4 after 4"]
    assert history.index("open 4") < history.index("told 4 after 4")


def test_where_a_pass_holds_one_image_each_is_a_group_and_so_a_sign_of_life(history: list[str]) -> None:
    assert announce(history, PassBudget(1), one_by_one=False) == [["0"], ["1"], ["2"], ["3"], ["4"]]


def test_lanes_are_told_of_together_several_parts_for_each(history: list[str]) -> None:
    predictor = predictor_of(PassBudget(1), num_lanes=2)
    assert predictor.lanes.turns == TURNS
    groups = list(predictor.announced(IMAGES, lambda done, ids: None))
    assert [len(group) for group in groups] == [5]  # of at most 2 lanes x 4 turns x 1 image


@pytest.fixture
def request_of(tmp_path: Path) -> PredictRequest:
    """Return a request for images of many sizes with one among them that is none."""
    images = []
    for index, size in enumerate(SIZES):
        cv2.imwrite(str(tmp_path / f"{index}.png"), draw(index, *size)[0])
        images.append(PredictImage(f"{index}", str(tmp_path / f"{index}.png"), (16, 12) if index % 2 else None))
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    images.insert(3, PredictImage("torn", str(tmp_path / "torn.jpg")))
    return PredictRequest(tuple(images), str(tmp_path / "found.parquet"))


def run(predictor: Predictor, request: PredictRequest) -> tuple[list[Prediction], tuple[Quarantined, ...]]:
    """Return predictions and quarantined images of a request."""
    quarantined = predictor.run(request, lambda done, working: None)
    return list(read_predictions(Path(request.out))), quarantined


def assert_same(found: Sequence[Prediction], expected: Sequence[Prediction]) -> None:
    """Check that predictions are equal but for rounding, in the same order."""
    assert [one.image_id for one in found] == [one.image_id for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.label_map.shape == other.label_map.shape
        assert (one.label_map == other.label_map).mean() > 0.999
        assert (abs(one.confidence.astype(int) - other.confidence) <= 1).mean() > 0.999
        assert (one.small_label_map is None) == (other.small_label_map is None)


@pytest.mark.parametrize(("num_inputs", "num_lanes"), [(1, 1), (2, 1), (4, 1), (6, 1), (100, 1), (1, 2), (4, 3)])
def test_predictions_come_in_the_order_of_the_request_and_do_not_depend_on_who_runs_together(
    request_of: PredictRequest, num_inputs: int, num_lanes: int
) -> None:
    expected, _ = run(predictor_of(PassBudget(1), one_by_one=True), request_of)
    found, quarantined = run(predictor_of(PassBudget(num_inputs * 96 * 96), num_lanes=num_lanes), request_of)
    assert [one.image_id for one in found] == [f"{index}" for index in range(len(SIZES))]
    assert_same(found, expected)
    assert [one.image_id for one in quarantined] == ["torn"]


def refused_on_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def refused_on_cpu() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def refusing(num_pixels: int, refused: Callable[[], None] = refused_on_gpu) -> Callable[[Tensor], None]:
    """Return what makes a network run out of memory when its inputs have more pixels."""

    def on_pass(inputs: Tensor) -> None:
        if inputs.shape[0] * inputs.shape[2] * inputs.shape[3] > num_pixels:
            refused()

    return on_pass


@pytest.mark.parametrize("refused", [refused_on_gpu, refused_on_cpu])
@pytest.mark.parametrize(("num_inputs", "num_lanes"), [(1, 1), (2, 1), (3, 1), (1, 3)])
def test_out_of_memory_makes_passes_smaller_and_changes_nothing_else(
    request_of: PredictRequest, num_inputs: int, num_lanes: int, refused: Callable[[], None]
) -> None:
    expected, _ = run(predictor_of(PassBudget(1)), request_of)
    predictor = predictor_of(
        PassBudget(100 * 96 * 96), on_pass=refusing(num_inputs * 96 * 96, refused), num_lanes=num_lanes
    )
    found, quarantined = run(predictor, request_of)
    assert_same(found, expected)
    assert [one.image_id for one in quarantined] == ["torn"]
    assert predictor.num_labelled == len(SIZES)
    if num_lanes == 1:  # side by side they are tried again one after the other first
        assert predictor.budget.pixels <= num_inputs * 96 * 96


def test_an_image_that_does_not_fit_even_alone_is_quarantined_and_the_others_are_kept(
    request_of: PredictRequest,
) -> None:
    found, quarantined = run(predictor_of(PassBudget(100 * 96 * 96), on_pass=refusing(96 * 96 - 1)), request_of)
    assert [one.image_id for one in found] == ["0", "1", "4", "5", "6"]
    assert [one.image_id for one in quarantined] == ["2", "torn", "3"]
    reason = next(one.reason for one in quarantined if one.image_id == "2")
    assert "out of memory on cpu" in reason
    assert "64x64" in reason
    assert "label.sizes" in reason


def test_memory_that_is_too_small_for_every_image_is_an_error_and_no_quarantine(request_of: PredictRequest) -> None:
    with pytest.raises(StepError, match="not one image could be labelled: out of memory"):
        run(predictor_of(PassBudget(10**6), on_pass=refusing(10)), request_of)
    assert list(Path(request_of.out).parent.glob("*.parquet*")) == []


def test_other_errors_of_a_network_are_not_taken_for_missing_memory(request_of: PredictRequest) -> None:
    def on_pass(inputs: Tensor) -> None:
        raise RuntimeError("sizes do not fit")

    with pytest.raises(RuntimeError, match="sizes do not fit"):
        run(predictor_of(TWO_TOGETHER, on_pass=on_pass), request_of)
    assert list(Path(request_of.out).parent.glob("*.parquet*")) == []
