"""Exponential moving averages of a network's weights over training (Tarvainen & Valpola 2017, arXiv 1703.01780).

Parameters are averaged; buffers, such as batch norm's statistics, which are averages themselves, are copied. torch's
AveragedModel would fetch its counter from the GPU in every step, which keeps the CPU waiting.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.models import BaseSegmentor
from torch import nn


def warmed_up(decay: float, num_updates: int) -> float:
    """Return the decay after a number of updates: small at first, so that the beginning is soon forgotten.

    A plain mean of all weights so far, as UniMatch V2 begins with, suits trainings of many thousands of iterations:
    after 50 of them it is sure of nothing yet, while the student is of 7 % of all pixels.
    """
    return min(decay, (1 + num_updates) / (10 + num_updates))


class Average:
    """A network, in evaluation mode and without gradients, that follows another one."""

    def __init__(self, network: BaseSegmentor, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.num_updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the weights of network."""
        share = 1 - warmed_up(self.decay, self.num_updates)
        torch._foreach_lerp_(list(self.network.parameters()), list(network.parameters()), share)
        for mine, other in zip(self.network.buffers(), network.buffers(), strict=True):
            mine.copy_(other)
        self.num_updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what resuming needs: tensors and a number."""
        return {"model": self.network.state_dict(), "num_updates": self.num_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what state_dict returned."""
        self.network.load_state_dict(state["model"])
        self.num_updates = int(state["num_updates"])


class AverageHook(Hook):
    """Take every step's weights into the averages, before they are saved."""

    def __init__(self, averages: Mapping[str, Average]) -> None:
        self.averages = averages

    def after_train_iter(self, runner: Runner, **_: Any) -> None:
        """Update the averages."""
        for average in self.averages.values():
            average.update(runner.model)
