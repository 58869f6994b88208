"""Config of a student: where it starts, how it grows, which weights are published, consistency training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from segcore.config.model_schema import NetworkConfig
from segcore.config.section import Fraction, PositiveInt, Section, Tau

Decay = Annotated[float, Field(gt=0.0, lt=1.0)]


class ConsistencyConfig(Section):
    """Weak-to-strong consistency on pool images in every training, after UniMatch V2 (arXiv 2410.10777)."""

    unlabelled_batch: PositiveInt | None = Field(
        None, description="pool images an iteration, each in two strong views; None: half of train.batch_size"
    )
    weight: Annotated[float, Field(gt=0)] = Field(1.0, description="of the consistency loss beside the supervised one")
    tau: Tau = Field(0.95, description="confidence of the EMA teacher from which a pixel counts")
    ema: Decay = Field(0.996, description="decay of the EMA teacher's weights")
    feature_dropout: Fraction = Field(
        0.5, description="share of the pool images whose feature channels are divided between the two strong views"
    )
    cutmix: Fraction = Field(0.5, description="probability of CutMix, for each strong view")

    def images_of(self, batch_size: int) -> int:
        """Return the pool images of one iteration."""
        return self.unlabelled_batch or max(batch_size // 2, 1)


class StudentConfig(Section):
    """What a round's student begins with, and which of its weights are kept."""

    start: Literal["fresh", "teacher"] = Field(
        "fresh", description="begin each later round with model.weights, or with the teacher's weights"
    )
    growing: tuple[NetworkConfig, ...] = Field(
        (), description="models of rounds 1, 2, … in place of model; the last one stays"
    )
    ema: Decay | None = Field(
        None, description="decay of an average of the weights over training, published in their place; None: the last"
    )
    freeze_batch_norm: bool = Field(
        False, description="keep the backbone's batch norm as it is: statistics, scale and shift; for small batches"
    )
    consistency: ConsistencyConfig | None = Field(None, description="learn from pool images inside a training")
