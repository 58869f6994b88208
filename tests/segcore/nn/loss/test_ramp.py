from __future__ import annotations

import math

import pytest

from segcore.config.train_schema import LossConfig
from segcore.nn.loss.ramp import pseudo_weight


@pytest.mark.parametrize(
    ("ramp", "iteration", "expected"),
    [
        (0.0, 0, 0.4),
        (0.5, 0, 0.4 * math.exp(-5)),
        (0.5, 25, 0.4 * math.exp(-1.25)),
        (0.5, 50, 0.4),
        (0.5, 99, 0.4),
        (1.0, 99, 0.4 * math.exp(-5e-4)),
    ],
)
def test_the_weight_of_pseudo_labels_rises_over_the_first_share_of_the_iterations(ramp, iteration, expected):
    assert pseudo_weight(LossConfig(pseudo_weight=0.4, pseudo_ramp=ramp), iteration, 100) == pytest.approx(expected)
