"""The weight of pseudo-labelled pixels over a training: a pure function of the iteration. No torch here."""

from __future__ import annotations

import math

from segcore.config.train_schema import LossConfig


def pseudo_weight(config: LossConfig, iteration: int, num_iterations: int) -> float:
    """Return the weight of pseudo-labelled pixels at an iteration, 0-based.

    It rises over the first pseudo_ramp of the iterations as in Laine & Aila 2017 (Temporal ensembling,
    https://arxiv.org/abs/1610.02242, section 2.1): exp(-5 (1 - t)^2), t going from 0 to 1.
    """
    length = config.pseudo_ramp * num_iterations
    if iteration >= length:
        return config.pseudo_weight
    return config.pseudo_weight * math.exp(-5.0 * (1.0 - iteration / length) ** 2)
