from __future__ import annotations

import numpy as np
import pytest
import torch

from segcore.errors import StepError
from segcore.nn.final_maps import counted, final_maps, quantised
from segcore.nn.full_size import View, ViewLogits, WholeLogits
from segcore.nn.vote_grid import VoteGrid
from segcore.process.jobs import PredictImage
from segcore.pseudo.confidence import LEVEL_EDGES, count_levels, quantise

from .small_teachers import NUM_CLASSES, small_teacher

TEACHER = small_teacher()


def logits_of(height: int, width: int) -> ViewLogits:
    generator = torch.Generator().manual_seed(0)
    views = [4 * torch.randn(2, NUM_CLASSES, h, w, generator=generator) for h, w in ((7, 9), (16, 13))]
    return ViewLogits([View(WholeLogits(view), TEACHER) for view in views], (height, width))


def test_levels_are_those_of_quantise_for_every_float_next_to_an_edge() -> None:
    near = LEVEL_EDGES.astype(np.float32)
    below, above = np.nextafter(near, np.float32(-1)), np.nextafter(near, np.float32(2))
    confidence = np.concatenate([below, near, above, np.linspace(0, 1.0005, 100_001, dtype=np.float32)])
    confidence = confidence[confidence >= 0]
    assert np.array_equal(quantised(torch.from_numpy(confidence)).numpy(), quantise(confidence))


def test_maps_are_argmax_level_and_count_of_the_probabilities() -> None:
    logits = logits_of(20, 25)
    probabilities = logits.probabilities(slice(0, 20)).numpy()
    found = final_maps(PredictImage("a", "", (5, 6)), logits, [TEACHER]).prediction()
    assert np.array_equal(found.label_map, probabilities.argmax(axis=0))
    assert np.array_equal(found.confidence, quantise(probabilities.max(axis=0)))
    assert np.array_equal(found.histogram, count_levels(found.label_map, found.confidence, NUM_CLASSES))
    assert found.small_label_map is not None
    assert found.small_label_map.shape == (5, 6)
    blocks = probabilities[:, :, :24].reshape(NUM_CLASSES, 5, 4, 6, 4)
    assert (found.small_label_map == blocks.mean(axis=(2, 4)).argmax(axis=0)).mean() > 0.5


def test_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image = PredictImage("a", "", (5, 6))
    expected = final_maps(image, logits_of(40, 25), [TEACHER]).prediction()
    monkeypatch.setattr("segcore.nn.full_size.VALUES_PER_BAND", 300)
    monkeypatch.setattr(ViewLogits.bands, "__defaults__", (300,))
    logits = logits_of(40, 25)
    assert len(list(logits.bands())) == 10
    found = final_maps(image, logits, [TEACHER]).prediction()
    assert (found.label_map == expected.label_map).mean() > 0.99
    assert (abs(found.confidence.astype(int) - expected.confidence) <= 1).all()
    assert found.histogram is not None
    assert found.histogram.sum() == 1000
    assert np.array_equal(found.small_label_map, expected.small_label_map)
    assert found.agreement == pytest.approx(expected.agreement, abs=0.01)


def test_agreement_is_the_mean_iou_of_each_view_and_mirror_image_with_the_label_map() -> None:
    logits = logits_of(20, 25)
    found = final_maps(PredictImage("a", ""), logits, [TEACHER]).prediction()
    final = found.label_map[::4, ::4]
    scores = []
    for view in logits.views:
        alone = ViewLogits([view], (20, 25)).resized(view, slice(0, 20)).numpy()
        for labels in (alone[0].argmax(axis=0), alone[1].argmax(axis=0)[:, ::-1]):
            pairs = np.zeros((NUM_CLASSES, NUM_CLASSES))
            np.add.at(pairs, (labels[::4, ::4], final), 1)
            union = pairs.sum(axis=0) + pairs.sum(axis=1) - pairs.diagonal()
            scores.append((pairs.diagonal()[union > 0] / union[union > 0]).mean())
    assert found.agreement == pytest.approx(np.mean(scores))
    assert 0.1 < np.mean(scores) < 0.9


def test_a_single_view_has_no_agreement() -> None:
    view = View(WholeLogits(torch.randn(1, NUM_CLASSES, 8, 8, generator=torch.Generator().manual_seed(0))), TEACHER)
    assert final_maps(PredictImage("a", ""), ViewLogits([view], (8, 8)), [TEACHER]).prediction().agreement is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_that_has_diverged_is_an_error_and_no_label(value: float) -> None:
    logits = logits_of(8, 8)
    logits.views[1].logits.rows(0, 4)[1, 2, 3, 3] = value
    with pytest.raises(StepError, match="diverged"):
        final_maps(PredictImage("a", ""), logits, [TEACHER]).prediction()


def test_counts_are_those_of_numpy() -> None:
    cells = torch.randint(0, 40, (17, 19), generator=torch.Generator().manual_seed(0))
    assert np.array_equal(counted(cells, 50).numpy(), np.bincount(cells.numpy().ravel(), minlength=50))


def test_votes_are_the_probabilities_on_a_grid_and_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image = PredictImage("a", "", vote_px=70)
    expected = logits_of(40, 25).probabilities(slice(0, 40)).numpy()[:, ::4, ::4]
    whole = final_maps(image, logits_of(40, 25), [TEACHER]).votes()
    assert whole is not None
    assert (whole.step_px, whole.values.dtype) == (4, np.float16)
    assert np.array_equal(whole.values, expected.astype(np.float16))
    monkeypatch.setattr(ViewLogits.bands, "__defaults__", (300,))
    banded = final_maps(image, logits_of(40, 25), [TEACHER]).votes()
    assert banded is not None
    assert np.allclose(banded.values, expected, atol=2e-3)
    assert final_maps(PredictImage("a", ""), logits_of(40, 25), [TEACHER]).votes() is None


def test_votes_of_a_one_channel_head_are_moved_so_that_its_threshold_is_even() -> None:
    grid = VoteGrid(2, threshold=0.3)
    positive = torch.tensor([[0.25, 0.9, 0.35], [0.0, 0.0, 0.0]])
    grid.take(torch.stack([1 - positive, positive]), top=0)
    assert grid.values().argmax(dim=0).tolist() == [[0, 1]]
