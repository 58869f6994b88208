"""One temperature for a teacher: by how much its confidence is to be stretched to be right as often as it says.

Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks") divides the logits of all classes.
Stored is the confidence of the predicted class alone, so here the temperature divides that confidence's own log-odds,
`p' = sigmoid(logit(p) / T)`: the same for two classes, and for more a scaling of "the predicted class or any other".
It keeps the order of pixels, hence no threshold depends on it; it is for reading confidences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segcore.pseudo.confidence import LEVELS_PER_NAT, NUM_LEVELS

Floats = NDArray[np.float64]

MOST = 10.0  # temperatures lie in [1 / MOST, MOST]
NUM_HALVINGS = 50

LEVEL_LOGITS: Floats = np.log(np.expm1((np.arange(NUM_LEVELS) + 0.5) / LEVELS_PER_NAT))
"""Log-odds of the middle of each confidence level: (256,) float64; p = 1 - exp(-x) has the odds exp(x) - 1."""


def scaled_levels(temperature: float) -> Floats:
    """Return the confidence that each level stands for after scaling: (256,) float64 in (0, 1)."""
    return np.asarray(1 / (1 + np.exp(-LEVEL_LOGITS / temperature)))


def fit_temperature(count: NDArray[np.int64], correct: NDArray[np.int64]) -> float:
    """Return the temperature under which what is right is most likely, in [0.1, 10]; 1.0 without pixels.

    count, correct: (256,) int64 pixels by level. The likelihood is concave in 1 / T, so its slope is halved upon: it
    is where the scaled confidences, weighed by their log-odds, add up to what is right.
    """
    if not count.sum():
        return 1.0
    cold, hot = 1 / MOST, MOST  # of 1 / T, between which the slope changes its sign
    for _ in range(NUM_HALVINGS):
        middle = (cold + hot) / 2
        slope = LEVEL_LOGITS @ (correct - count * scaled_levels(1 / middle))
        cold, hot = (middle, hot) if slope > 0 else (cold, middle)
    return 2 / (cold + hot)
