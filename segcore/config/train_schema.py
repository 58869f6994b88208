"""Config of a training: schedule, samples, augmentation, loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from segcore.config.section import Fraction, PositiveInt, Section


class StrongConfig(Section):
    """Strong augmentation of pseudo-labelled samples, as probabilities. Ranges: segcore/nn/augment/strong.py."""

    colour_jitter: Fraction = Field(0.0, description="brightness, contrast, saturation and hue, strongly")
    grey: Fraction = Field(0.0, description="no colours")
    blur: Fraction = Field(0.0, description="Gaussian blur")
    cutout: Fraction = Field(0.0, description="a box of noise, ignored by the loss")
    cutmix: Fraction = Field(0.0, description="a box out of another pseudo-labelled sample, labels and all")


class AugmentConfig(Section):
    """Augmentation of training samples, in the order of these fields; last what is for pseudo-labelled ones alone."""

    scale_range: tuple[float, float] = Field((0.75, 1.5), description="random resize, relative to train.size")
    crop_max_share: Fraction = Field(0.9, description="a crop in which one class covers more is drawn again")
    flip: Fraction = Field(0.5, description="probability of a horizontal flip")
    rotate_90: Fraction = Field(0.0, description="probability of a turn by 90, 180 or 270 degrees")
    copy_paste: Fraction = Field(
        0.0, description="probability that objects of rare classes are pasted into a ground-truth sample"
    )
    photometric: bool = Field(True, description="brightness, contrast, saturation and hue, mildly")
    blur: Fraction = Field(0.0, description="probability of one of box, Gaussian and motion blur")
    strong: StrongConfig = StrongConfig()


class LossConfig(Section):
    """The loss of every decode and auxiliary head. What is set here wins over a model config file's own."""

    class_weights: Literal["none", "inverse_sqrt"] | dict[str, Annotated[float, Field(gt=0)]] = Field(
        "none", description="inverse_sqrt: of each class's share of the labelled pixels; or by class name, others 1"
    )
    ohem: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="pixels whose true class gets less probability count, the others do not, but for the hardest"
    )
    region: Literal["none", "dice", "lovasz"] = Field("none", description="added to the cross-entropy, per image")
    region_weight: Annotated[float, Field(gt=0)] = Field(1.0, description="weight of the region loss")
    pseudo_weight: Annotated[float, Field(ge=0)] = Field(1.0, description="weight of pseudo-labelled pixels")
    pseudo_ramp: Fraction = Field(0.0, description="share of the iterations, the first, in which it rises from 0")
    confidence_weighted: bool = Field(False, description="weigh pseudo-labelled pixels by the teacher's confidence")


class TrainConfig(Section):
    """One student. AdamW, linear warm-up, then polynomial decay."""

    iterations: PositiveInt = Field(description="iterations of round 0")
    round_iterations: PositiveInt | None = Field(None, description="iterations of later rounds; None: same as round 0")
    batch_size: Annotated[int, Field(ge=2)] = 8
    size: Annotated[int, Field(ge=32, multiple_of=32)] = Field(512, description="longer image side and crop, px")
    lr: Annotated[float, Field(gt=0)] = 1e-3
    round_lr: Annotated[float, Field(gt=0)] | None = Field(None, description="lr of rounds after 0; None: lr")
    backbone_lr_mult: Annotated[float, Field(ge=0)] = 0.3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warmup_iterations: Annotated[int, Field(ge=0)] = 20
    poly_power: Annotated[float, Field(gt=0)] = 0.9
    pseudo_share: Fraction = Field(0.5, description="share of each batch drawn from pseudo-labels (rounds after 0)")
    gt_only_last: Fraction = Field(0.0, description="share of the iterations, the last, on ground truth alone")
    rare_class_share: Fraction = Field(
        0.0, description="share of the ground-truth samples that are drawn for a class, rare ones more often"
    )
    rare_class_temperature: Annotated[float, Field(gt=0)] = Field(
        0.01, description="how evenly classes are drawn: a higher one favours the rarest less"
    )
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 autocast where fast")
    gpus: PositiveInt = Field(1, description="GPUs that share each batch, a process each; on a CPU, so many processes")
    checkpoint_every: PositiveInt = Field(500, description="iterations between resume checkpoints")
    keep_checkpoints: PositiveInt = Field(3, description="resume checkpoints kept; at least 2")
    workers: Annotated[int, Field(ge=0)] | None = Field(
        None, description="processes that load samples, for each GPU; None: 2 on a CPU, up to 8 beside a GPU"
    )

    @model_validator(mode="after")
    def _two_samples_a_gpu(self) -> TrainConfig:
        if self.gpus > 1 and (self.batch_size % self.gpus or self.batch_size < 2 * self.gpus):
            raise ValueError(
                f"batch_size must be a multiple of gpus, two each or more, got {self.batch_size} for {self.gpus} GPUs"
            )
        return self

    @model_validator(mode="after")
    def _two_checkpoints(self) -> TrainConfig:
        if self.keep_checkpoints < 2:
            raise ValueError(
                "keep_checkpoints must be at least 2, got 1: with one, a death while it is written leaves none"
            )
        return self
