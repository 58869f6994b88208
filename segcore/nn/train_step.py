"""What one optimisation step does with a batch: mmseg's own losses, and beside them consistency on pool images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmseg.models import EncoderDecoder

from segcore.config.student_schema import ConsistencyConfig
from segcore.nn.consistency import consistency_loss, views_of
from segcore.nn.ema import Average

Parts = dict[str, torch.Tensor]  # what is logged; "loss" is what was minimised
TrainStep = Callable[[Any, OptimWrapper, Any], Parts]  # network, optimiser, batch


def supervised_step(network: Any, optimizer: OptimWrapper, batch: Any) -> Parts:
    """Learn from a batch of images with label maps."""
    return {"loss": network.train_step(batch, optim_wrapper=optimizer)["loss"]}


@dataclass(frozen=True)
class ConsistencyStep:
    """A step on {"labelled": …, "unlabelled": …} (segcore/nn/unlabelled_data.py). teacher: the EMA teacher."""

    teacher: Average
    config: ConsistencyConfig

    def __call__(self, network: EncoderDecoder, optimizer: OptimWrapper, batch: Any) -> Parts:
        """Minimise the weighted mean of both losses, as in UniMatch V2."""
        with optimizer.optim_context(network):
            labelled = network.data_preprocessor(batch["labelled"], True)
            supervised, _ = network.parse_losses(network(**labelled, mode="loss"))
            views = views_of(network, batch["unlabelled"])
            found = consistency_loss(network, self.teacher.network, views, self.config)
        weight = self.config.weight
        total = (supervised + weight * found.loss) / (1 + weight)
        optimizer.update_params(total)
        parts = {"loss": total, "supervised": supervised, "consistency": found.loss, "confident": found.confident}
        return {name: value.detach() for name, value in parts.items()}
