from __future__ import annotations

import pytest

from segcore.nn.schedule import Schedule


@pytest.mark.parametrize(
    ("iteration", "factor"), [(0, 0.01), (5, 0.505), (10, 1.0), (55, 0.5), (100 - 9, 0.1), (100, 0.0)]
)
def test_the_rate_warms_up_linearly_and_decays_with_power_one(iteration: int, factor: float) -> None:
    assert Schedule(100, 10, 1.0).factor(iteration) == pytest.approx(factor)


@pytest.mark.parametrize(("iterations", "warmup"), [(1, 20), (2, 20), (20, 20), (300, 0)])
def test_short_trainings_and_no_warm_up_stay_within_bounds(iterations: int, warmup: int) -> None:
    factors = [Schedule(iterations, warmup, 0.9).factor(iteration) for iteration in range(iterations)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == pytest.approx(1.0)
