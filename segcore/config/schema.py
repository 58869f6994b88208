"""The run config as frozen pydantic models: every field a user may write, with its meaning and range."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Tau = Annotated[float, Field(gt=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(gt=0)]
RUN_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
RunId = Annotated[str, Field(pattern=RUN_ID_PATTERN)]


class Section(BaseModel):
    """Base of all sections: unknown fields are errors, values cannot change after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), arbitrary_types_allowed=False)


class LabelledImages(Section):
    """A COCO file and the folder its file names are relative to."""

    annotations: Path = Field(description="COCO JSON with images, categories and annotations")
    images: Path = Field(description="folder that file_name is relative to")


class ImageList(Section):
    """Images without labels: a COCO image list with its folder, or a plain folder searched recursively."""

    images: Path = Field(description="image folder")
    annotations: Path | None = Field(None, description="COCO JSON whose images are used; None takes every image file")


class DataConfig(Section):
    """Where images and labels are, and what a pixel without annotation means."""

    train: LabelledImages
    val: LabelledImages | None = Field(None, description="None splits validation images off train")
    unlabeled: tuple[ImageList, ...] = ()
    test: ImageList | None = None
    test_labels: Path | None = Field(None, description="COCO JSON for test: those images become the report set")
    unannotated: Literal["background", "ignore"] = Field(description="meaning of pixels without annotation")
    background: str = Field("background", description="name of the class that unannotated pixels get")
    palette: dict[str, tuple[int, int, int]] = Field(default_factory=dict, description="class name to RGB")
    max_megapixels: Annotated[float, Field(gt=0)] = Field(200.0, description="larger images are quarantined undecoded")


class FoldConfig(Section):
    """One chain of a cross-validation: which of how many folds is kept from it until its one number at the end."""

    index: Annotated[int, Field(ge=0)]
    of: Annotated[int, Field(ge=2, le=50)]

    @model_validator(mode="after")
    def _one_of_them(self) -> FoldConfig:
        if self.index >= self.of:
            raise ValueError(f"index must be below of, got fold {self.index} of {self.of}; folds count from 0")
        return self


class RolesConfig(Section):
    """How validation images are divided (segcore/data/roles.py)."""

    seed: int = 0
    val_share: Fraction = Field(0.3, description="share of train set aside when there is no val")
    gate_share: Fraction | None = Field(
        None, description="share of val for the gate; None: 0.7 under 150 images, else 0.5"
    )
    report_share: Fraction = Field(0.0, description="share of val never used before the final number")
    min_gate_images: PositiveInt = Field(10, description="fewer honest gate images than this: no score")
    fold: FoldConfig | None = Field(None, description="set by cross-validate: this fold of train and val is report")


class PoolConfig(Section):
    """Which images are pseudo-labelled."""

    use_test: bool = Field(True, description="label test images too (transductive; some rules forbid it)")
    max_images: PositiveInt | None = Field(
        None, description="label this many at most: those whose ids have the smallest hashes, a fixed random choice"
    )
    drop_near_duplicates: bool = Field(
        False, description="leave out unlabelled images that repeat an earlier one; equal files always are left out"
    )


class GivenTeacher(Section):
    """A checkpoint from outside that labels round 1 in place of a trained round 0."""

    checkpoint: Path
    config: Path
    trained_on: tuple[ImageList, ...] = Field(description="every image it was trained on; () if none of yours")


class ModelConfig(Section):
    """A preset by name, or any mmsegmentation config file."""

    preset: str | None = Field("efficientnet_lite0_upernet", description="name of a preset; None when config is given")
    config: Path | None = Field(None, description="mmsegmentation config file with a model= dict")
    weights: str | None = Field(
        "imagenet", description="'imagenet' (the preset's own), a weights file, or None: random"
    )
    head_channels: PositiveInt = Field(64, description="width of the preset's UPerNet head")
    teacher: GivenTeacher | None = None

    @model_validator(mode="after")
    def _one_source(self) -> ModelConfig:
        if (self.preset is None) == (self.config is None):
            raise ValueError("exactly one of preset and config must be given; set the other to null")
        return self


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
    reliable_share: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of pool images, those whose views agree most, that are labelled in round 1"
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


class LoopConfig(Section):
    """How long to go on."""

    rounds: Annotated[int, Field(ge=0)] = Field(3, description="most rounds after round 0")
    patience: PositiveInt = Field(2, description="rounds without a new best before stopping")
    seed: int = 0
    max_hours: Annotated[float, Field(gt=0)] | None = Field(
        None, description="no new round after this much training time"
    )
    gate_level: Annotated[float, Field(gt=0, lt=0.5)] = Field(0.05, description="chance of a false gain per run")
    gate_resamples: Annotated[int, Field(ge=100)] = 2000
    class_harm: Literal["flag", "reject"] = Field(
        "flag", description="a class that got significantly worse: say so, or count the round as worse"
    )
    require_approval: bool = Field(False, description="ask a person before each round after round 0")
    control: bool = Field(False, description="train a GT-only student on the final schedule, to attribute the gain")
    final_refit: bool = Field(
        False, description="after the loop, train once more on train, calib, gate and pseudo-labels; never scored"
    )


class OutputConfig(Section):
    """What is left under outputs/ for other programs."""

    submission_size: tuple[PositiveInt, PositiveInt] | None = Field(
        (256, 256), description="height, width; None: no CSV"
    )
    index_png: bool = Field(True, description="write pseudo-labels as index PNGs beside the COCO file")


class RuntimeConfig(Section):
    """Where and how it runs. Changes nothing in the results, so nothing is redone when it changes."""

    artifacts: Path = Field(Path("artifacts"), description="folder of run folders")
    device: str = Field("auto", description="'auto', 'cpu', 'cuda', 'cuda:1'")
    grace_s: Annotated[float, Field(gt=0)] = Field(60.0, description="time a trainer gets to finish a checkpoint")
    log_every: PositiveInt = Field(50, description="iterations between progress lines")
    stall_minutes: Annotated[float, Field(gt=0)] = Field(
        30.0, description="a trainer or labeller without a sign of life for this long is ended and resumed"
    )
    max_resumes: Annotated[int, Field(ge=0)] = Field(
        3, description="resumes of a stalled or killed training without a newer checkpoint before the run fails"
    )
    min_free_gb: Annotated[float, Field(ge=0)] = Field(1.0, description="a round starts only with this much disk free")


class RunConfig(Section):
    """One run. Paths are relative to the file they stand in."""

    run_id: RunId | None = Field(None, description="None: the config's file name without suffix")
    data: DataConfig
    roles: RolesConfig = RolesConfig()
    pool: PoolConfig = PoolConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig
    label: LabelConfig = LabelConfig()
    filter: FilterConfig = FilterConfig()
    alarms: AlarmsConfig = AlarmsConfig()
    loop: LoopConfig = LoopConfig()
    outputs: OutputConfig = OutputConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _views_to_agree(self) -> RunConfig:
        if self.filter.reliable_share < 1 and len(self.label.sizes) == 1 and not self.label.flip:
            raise ValueError(
                f"filter.reliable_share must be 1 where label has one view, got {self.filter.reliable_share}: images "
                "are ranked by how far their views agree; set label.flip or name a second of label.sizes"
            )
        return self
