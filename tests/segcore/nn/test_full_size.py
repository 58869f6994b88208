from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from segcore.nn.full_size import AreaAverage, View, ViewLogits, WholeLogits, area_weights, stretched

from .small_teachers import small_teacher


def logits_of(height: int, width: int, align_corners: bool = False, num_flips: int = 1) -> ViewLogits:
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(num_flips, 3, h, w, generator=generator) for h, w in ((7, 9), (16, 13), (40, 31))]
    teacher = small_teacher()
    teacher.network.align_corners = align_corners
    return ViewLogits([View(WholeLogits(view), teacher) for view in views], (height, width))


def whole(logits: ViewLogits) -> Tensor:
    """Return the mean softmax without bands, each mirror image mirrored back before anything else."""
    found = []
    for view in logits.views:
        both = view.logits.rows(0, view.logits.shape[2])
        for one in (both[:1], both[1:].flip(3))[: len(both)]:
            align_corners = bool(view.teacher.network.align_corners)
            resized = functional.interpolate(one, size=logits.size, mode="bilinear", align_corners=align_corners)
            found.append(resized[0].softmax(dim=0))
    return torch.stack(found).mean(dim=0)


@pytest.mark.parametrize("num_flips", [1, 2])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(20, 25), (7, 9), (5, 4), (1, 60), (53, 2)])
@pytest.mark.parametrize("values", [1, 200, 10**9])
def test_bands_put_together_are_the_whole(
    size: tuple[int, int], align_corners: bool, values: int, num_flips: int
) -> None:
    logits = logits_of(*size, align_corners, num_flips)
    bands = [logits.probabilities(rows) for rows in logits.bands(values)]
    assert torch.allclose(torch.cat(bands, dim=1), whole(logits), atol=1e-6)


def test_bands_hold_no_more_values_than_asked_and_cover_every_row_once() -> None:
    rows = list(logits_of(53, 40).bands(1200))
    assert [band.start for band in rows] == [0, 10, 20, 30, 40, 50]
    assert rows[-1].stop == 53


def test_bands_hold_no_more_of_a_view_than_asked_when_views_are_larger_than_the_image() -> None:
    rows = list(logits_of(20, 25).bands(3 * 31 * 40 // 4))  # a quarter of the largest view
    assert [band.start for band in rows] == [0, 5, 10, 15]


@pytest.mark.parametrize("size", [(213, 640), (512, 512), (37, 1000), (1, 9), (60, 1)])
@pytest.mark.parametrize("shape", [(333, 1000), (512, 512), (20, 17), (1, 1), (600, 1)])
def test_stretching_is_that_of_torch(size: tuple[int, int], shape: tuple[int, int]) -> None:
    logits = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    for align_corners, tolerance in ((False, 1e-5), (True, 1e-3)):  # torch's own float32 is off by 2e-4 here
        exact = functional.interpolate(logits.double(), size=shape, mode="bilinear", align_corners=align_corners)
        expected = exact.float()
        channels_last = logits.contiguous(memory_format=torch.channels_last)
        assert torch.allclose(stretched(logits, shape, align_corners), expected, atol=tolerance)
        assert torch.allclose(stretched(channels_last, shape, align_corners), expected, atol=tolerance)


def test_area_weights_count_straddling_cells_by_their_share() -> None:
    assert torch.allclose(area_weights(3, 2, torch.device("cpu")), torch.tensor([[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]]))


@pytest.mark.parametrize("small_size", [(1, 1), (4, 6), (5, 7), (12, 30), (20, 25)])
@pytest.mark.parametrize("values", [1, 200, 10**9])
def test_area_averages_sum_to_one_and_keep_the_mean_whatever_the_bands(
    small_size: tuple[int, int], values: int
) -> None:
    logits = logits_of(20, 25)
    average = AreaAverage(logits.size, small_size)
    for rows in logits.bands(values):
        average.add(logits.probabilities(rows), rows)
    total = average.probabilities()
    assert torch.allclose(total.sum(dim=0), torch.ones(small_size), atol=1e-5)
    assert torch.allclose(total.mean(dim=(1, 2)), whole(logits).mean(dim=(1, 2)), atol=1e-5)


def test_halving_an_image_averages_squares_of_four_pixels() -> None:
    probabilities = torch.tensor([[[1.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.4, 0.4]]])
    average = AreaAverage((2, 4), (1, 2))
    average.add(torch.cat([probabilities, 1 - probabilities]), slice(0, 2))
    assert torch.allclose(average.probabilities()[0], torch.tensor([[0.25, 0.4]]))
