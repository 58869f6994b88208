"""mmseg's region losses, as they are called here, against their definitions written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from segcore.nn.loss.region import dice, lovasz


def naive_dice(chance: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the mean over the classes present of 1 - 2 |p g| / (|p|^2 + |g|^2)."""
    losses = []
    for class_id in np.unique(labels):
        p, g = chance[:, class_id], (labels == class_id).astype(float)
        losses.append(1 - 2 * (p * g).sum() / ((p * p).sum() + g.sum() + 2e-3))
    return float(np.mean(losses))


def naive_lovasz(chance: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Return the mean over the classes present of the Lovász extension of the Jaccard loss, error by error."""

    def jaccard_loss(wrong: set[int], members: set[int]) -> float:
        return len(wrong) / len(members | wrong)  # of the prediction that is wrong in these pixels and right elsewhere

    losses = []
    for class_id in np.unique(labels):
        members = set(np.flatnonzero(labels == class_id).tolist())
        errors = np.abs((labels == class_id) - chance[:, class_id])
        total, wrong = 0.0, set[int]()
        for pixel in np.argsort(-errors, kind="stable").tolist():
            before, wrong = jaccard_loss(wrong, members), wrong | {pixel}
            total += errors[pixel] * (jaccard_loss(wrong, members) - before)
        losses.append(total)
    return float(np.mean(losses))


@pytest.mark.parametrize(("loss", "naive"), [(dice, naive_dice), (lovasz, naive_lovasz)])
@pytest.mark.parametrize("num_pixels", [1, 2, 60])
def test_region_losses_are_as_defined_and_fall_when_the_truth_gains(loss, naive, num_pixels):
    rng = np.random.default_rng(num_pixels)
    labels = rng.integers(0, 3, num_pixels)
    logits = torch.from_numpy(rng.normal(size=(num_pixels, 4)).astype(np.float32)).requires_grad_()
    found = loss(logits, torch.from_numpy(labels))
    chance = logits.detach().softmax(1).numpy()
    assert float(found.detach()) == pytest.approx(naive(chance, labels), abs=1e-5)
    found.backward()
    better = logits.detach() - 0.1 * logits.grad / logits.grad.abs().max()
    assert float(loss(better, torch.from_numpy(labels))) < float(found.detach())
