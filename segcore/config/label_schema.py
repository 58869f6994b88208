"""Config of pseudo-labels: how images are labelled, what is kept, and when that looks wrong."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from segcore.config.section import Fraction, PositiveInt, Section, Tau


class LabelConfig(Section):
    """Test-time augmentation and sharding of predictions."""

    sizes: tuple[Annotated[int, Field(ge=32)], ...] = Field(
        (256, 384, 512, 640), description="longer side of views, px"
    )
    flip: bool = True
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field("auto", description="auto: bf16 or fp16 where fast")
    resize: Literal["opencv", "device"] = Field("opencv", description="opencv reproduces mmseg's views exactly")
    num_shards: PositiveInt | None = Field(None, description="None: power of two with about images_per_shard each")
    images_per_shard: PositiveInt = 500
    max_failures: PositiveInt = Field(2, description="deaths on one image before it is quarantined")


class FilterConfig(Section):
    """From raw predictions to pseudo-labels. Below threshold is ignore, never background."""

    policy: Literal["fixed", "class_balanced", "calibrated"] = "class_balanced"
    tau: Tau | dict[str, Tau] = Field(0.9, description="fixed: threshold for all classes, or by class name")
    share: Fraction = Field(0.6, description="class_balanced: share of each class's pixels kept in round 1")
    share_step: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="class_balanced: growth a round")
    share_max: Fraction = 0.9
    min_tau: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="class_balanced: no threshold falls below, but where calib shows target_precision there, too"
    )
    target_precision: Tau | dict[str, Tau] = Field(
        0.9, description="share of kept pixels that is to be right, for all classes or by class name; see the policies"
    )
    min_component_px: Annotated[int, Field(ge=0)] = Field(0, description="smaller connected components are ignored")
    min_component_score: Fraction = Field(0.0, description="components of less mean confidence are ignored")
    reliability: Literal["views", "checkpoints"] = Field(
        "views", description="what an image is ranked by: agreement of its views, or of checkpoints of one training"
    )
    reliable_share: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of pool images, the most reliable, that are labelled in round 1"
    )
    reliable_step: Fraction = Field(0.5, description="growth of that share a round")
    boundary_px: Annotated[int, Field(ge=0)] = Field(0, description="width of the ignored band at class boundaries")


class ClassAlarm(Section):
    """An alarm on one class, or on all of them. Limits and actions: docs/explanation/alarms.md."""

    action: Literal["warn", "freeze", "raise_tau", "stop"] = Field(
        "warn", description="freeze: keep the class's last good labels; raise_tau: keep its surest; stop: end the loop"
    )
    limit: Annotated[float, Field(gt=0)] | None = Field(None, description="None: the alarm's own")


class RunAlarm(Section):
    """An alarm that no class is to blame for."""

    action: Literal["warn", "stop"] = Field("warn", description="stop: end the loop before a student is trained")
    limit: Annotated[float, Field(gt=0)] | None = Field(None, description="None: the alarm's own")


class AlarmsConfig(Section):
    """When the pseudo-labels of a round look wrong, and what is done about it (segcore/trust/alarms.py)."""

    vanished: ClassAlarm = Field(ClassAlarm(), description="share of the kept pixels far under that of the truth")
    exploded: ClassAlarm = Field(ClassAlarm(), description="share of the kept pixels far over that of the truth")
    churn: ClassAlarm = Field(ClassAlarm(), description="the last teacher's pixels of the class are others now")
    drift: ClassAlarm = Field(ClassAlarm(), description="the first teacher's pixels of the class are others now")
    calibration: ClassAlarm = Field(ClassAlarm(), description="confidence minus accuracy rose on calib")
    confidence: ClassAlarm = Field(ClassAlarm(), description="confidence in the pool rose, accuracy on calib did not")
    shift: RunAlarm = Field(RunAlarm(), description="the pool's confidence is not that of calib")
    raised_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="raise_tau: at most this share of the pixels that the class's threshold keeps stays"
    )
