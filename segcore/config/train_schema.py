"""Config of a training: schedule, samples, augmentation, loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from segcore.config.section import Fraction, PositiveInt, Section


class AugmentConfig(Section):
    """Augmentation of training samples, in this order: resize, crop, flip, photometric distortion."""

    scale_range: tuple[float, float] = Field((0.75, 1.5), description="random resize, relative to train.size")
    flip: Fraction = Field(0.5, description="probability of a horizontal flip")
    photometric: bool = True
    crop_max_share: Fraction = Field(0.9, description="a crop in which one class covers more is drawn again")


class TrainConfig(Section):
    """One student. AdamW, linear warm-up, then polynomial decay."""

    iterations: PositiveInt = Field(description="iterations of round 0")
    round_iterations: PositiveInt | None = Field(None, description="iterations of later rounds; None: same as round 0")
    batch_size: Annotated[int, Field(ge=2)] = 8
    size: Annotated[int, Field(ge=32, multiple_of=32)] = Field(512, description="longer image side and crop, px")
    lr: Annotated[float, Field(gt=0)] = 1e-3
    backbone_lr_mult: Annotated[float, Field(ge=0)] = 0.3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup_iterations: Annotated[int, Field(ge=0)] = 20
    poly_power: Annotated[float, Field(gt=0)] = 0.9
    pseudo_share: Fraction = Field(0.5, description="share of each batch drawn from pseudo-labels (rounds after 0)")
    augment: AugmentConfig = AugmentConfig()
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 autocast where fast")
    checkpoint_every: PositiveInt = Field(500, description="iterations between resume checkpoints")
    keep_checkpoints: PositiveInt = Field(3, description="resume checkpoints kept; at least 2")
    workers: Annotated[int, Field(ge=0)] = 2

    @model_validator(mode="after")
    def _two_checkpoints(self) -> TrainConfig:
        if self.keep_checkpoints < 2:
            raise ValueError(
                "keep_checkpoints must be at least 2, got 1: with one, a death while it is written leaves none"
            )
        return self
