"""The learning rate as a function of the iteration, so that nothing of it needs to be saved."""

from __future__ import annotations

from dataclasses import dataclass

WARMUP_START = 0.01  # share of the full rate in iteration 0


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then polynomial decay to 0 at num_iterations (Chen et al. 2017, DeepLab, section 4.1)."""

    num_iterations: int
    warmup_iterations: int
    poly_power: float

    def factor(self, iteration: int) -> float:
        """Return the share, in [0, 1], of the full learning rate that an iteration (from 0) is taken with."""
        warmup = min(self.warmup_iterations, self.num_iterations - 1)
        if iteration < warmup:
            return WARMUP_START + (1 - WARMUP_START) * iteration / warmup
        return float((1 - (iteration - warmup) / (self.num_iterations - warmup)) ** self.poly_power)
