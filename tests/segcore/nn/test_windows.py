from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from segcore.nn import windows
from segcore.nn.passes import PassBudget
from segcore.nn.tta import ViewSpec, forward, in_windows, resized, view_logits
from segcore.nn.windows import WindowedLogits, blend_weights, needs_windows, starts

from .small_teachers import small_teacher

FLIPPED = ViewSpec((96,), True, "opencv", "fp32", "cpu")
PLAIN = ViewSpec((96,), False, "opencv", "fp32", "cpu")


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let windows be 32 px and views of more than 1024 px be run in them."""
    for name, value in {"WINDOW": 32, "OVERLAP": 8, "WHOLE_VIEW_PX": 1024}.items():
        monkeypatch.setattr(windows, name, value)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("length", [1, 1024, 1025, 1792, 1793, 5000])
def test_windows_cover_a_side_and_their_weights_sum_to_one_everywhere(length: int) -> None:
    begins = starts(length)
    weights = blend_weights(begins, length)
    total = torch.zeros(length)
    for begin, weight in zip(begins, weights, strict=True):
        total[begin : begin + len(weight)] += weight
    assert torch.allclose(total, torch.ones(length))
    assert weights.min() > 0
    assert all(second - first <= windows.WINDOW - windows.OVERLAP for first, second in itertools.pairwise(begins))


def test_views_of_common_sizes_run_in_one_piece() -> None:
    assert not needs_windows((640, 640))
    assert not needs_windows((1024, 2048))
    assert needs_windows((2160, 3840))


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("shape", [(96, 80), (33, 200), (200, 33), (32, 33)])
@pytest.mark.parametrize("spec", [FLIPPED, PLAIN])
def test_a_network_that_sees_single_pixels_says_the_same_in_windows(shape: tuple[int, int], spec: ViewSpec) -> None:
    teacher, budget = small_teacher(), PassBudget(10**6)
    pixels = resized(picture(*shape), shape, "cpu")
    with torch.inference_mode():
        (expected,) = forward(teacher, spec, budget, [pixels])
        found = in_windows(teacher, spec, budget, pixels)
        assert found.shape == expected.shape
        bands = [found.rows(top, min(top + 11, shape[0])) for top in range(0, shape[0], 11)]
    assert torch.allclose(torch.cat(bands, dim=2), expected, atol=1e-4)


@pytest.mark.usefixtures("small_windows")
def test_a_network_that_sees_its_surroundings_differs_only_near_the_edges_of_windows() -> None:
    teacher, budget = small_teacher(kernel_size=5), PassBudget(10**6)
    pixels = resized(picture(64, 90), (64, 90), "cpu")
    with torch.inference_mode():
        (expected,) = forward(teacher, PLAIN, budget, [pixels])
        found = in_windows(teacher, PLAIN, budget, pixels).rows(0, 64)
    differs = (found - expected).abs().amax(dim=(0, 1)) > 1e-3
    near_edge = torch.zeros(64, 90, dtype=torch.bool)
    for begins, along in ((starts(64), near_edge), (starts(90), near_edge.T)):
        for edge in [*begins[1:], *(begin + 32 for begin in begins[:-1])]:
            along[edge - 2 : edge + 2] = True
    assert differs.any()
    assert not (differs & ~near_edge).any()
    whole_scale, blended = expected.abs().max(), (found - expected).abs().max()
    assert blended < whole_scale  # two windows disagree by less than what they say


@pytest.mark.usefixtures("small_windows")
def test_strips_above_the_rows_asked_for_are_forgotten_and_none_is_run_twice() -> None:
    ran: list[int] = []
    teacher = small_teacher(on_pass=lambda inputs: ran.append(len(inputs)))
    pixels = resized(picture(1000, 40), (1000, 40), "cpu")
    found = in_windows(teacher, FLIPPED, PassBudget(10**6), pixels)
    assert isinstance(found, WindowedLogits)
    with torch.inference_mode():
        for top in range(0, 1000, 10):
            found.rows(top, min(top + 11, 1000))
            assert len(found.strips) <= 3
    assert len(ran) == len(starts(1000))


@pytest.mark.usefixtures("small_windows")
def test_an_image_whose_views_are_run_in_windows_gets_the_probabilities_of_whole_views() -> None:
    image, teacher, budget = picture(120, 90), small_teacher(), PassBudget(10**6)
    with torch.inference_mode():
        (found,) = view_logits([teacher], [image], FLIPPED, budget)
        assert isinstance(found.views[0].logits, WindowedLogits)
        bands = torch.cat([found.probabilities(rows) for rows in found.bands(3000)], dim=1)
        windows.WHOLE_VIEW_PX = 10**9  # put back by the fixture
        (expected,) = view_logits([teacher], [image], FLIPPED, budget)
        assert torch.allclose(bands, expected.probabilities(slice(0, 120)), atol=1e-5)
