"""The run config as frozen pydantic models: every field a user may write, with its meaning and range.

Its sections lie in the modules beside this one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from segcore.config.data_schema import DataConfig, PoolConfig, RolesConfig
from segcore.config.ensemble_schema import EnsembleConfig
from segcore.config.label_schema import AlarmsConfig, FilterConfig, LabelConfig
from segcore.config.model_schema import ModelConfig
from segcore.config.section import PositiveInt, Section
from segcore.config.student_schema import StudentConfig
from segcore.config.train_schema import TrainConfig

RUN_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MIN_ITERATIONS_RANKED = 3  # so that a third and two thirds of a training are two moments before its end
RunId = Annotated[str, Field(pattern=RUN_ID_PATTERN)]


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
    ensemble: EnsembleConfig = EnsembleConfig()
    student: StudentConfig = StudentConfig()
    train: TrainConfig
    label: LabelConfig = LabelConfig()
    filter: FilterConfig = FilterConfig()
    alarms: AlarmsConfig = AlarmsConfig()
    loop: LoopConfig = LoopConfig()
    outputs: OutputConfig = OutputConfig()
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _gpus_share_pool_images(self) -> RunConfig:
        consistency, train = self.student.consistency, self.train
        if consistency is not None and consistency.images_of(train.batch_size) % train.gpus:
            raise ValueError(
                "student.consistency.unlabelled_batch must be a multiple of train.gpus, got "
                f"{consistency.images_of(train.batch_size)} pool images for {train.gpus} GPUs"
            )
        return self

    @model_validator(mode="after")
    def _images_can_be_ranked(self) -> RunConfig:
        reason = ranking_problem(self)
        if reason is not None:
            raise ValueError(f"filter.reliable_share must be 1 {reason}")
        return self


def ranking_problem(config: RunConfig) -> str | None:
    """Return why a config's images cannot be ranked by their reliability, and the remedy; None where they can."""
    train, share = config.train, config.filter.reliable_share
    if share >= 1:
        return None
    if config.filter.reliability == "views":
        if len(config.label.sizes) > 1 or config.label.flip:
            return None
        return (
            f"where label has one view, got {share}: images are ranked by how far their views agree; set label.flip, "
            "name a second of label.sizes, or take filter.reliability: checkpoints"
        )
    if config.model.teacher is not None:
        return (
            f"with a given teacher (model.teacher) and filter.reliability checkpoints, got {share}: the checkpoints "
            "of its training are not known; take filter.reliability: views"
        )
    if min(train.iterations, train.round_iterations or train.iterations) < MIN_ITERATIONS_RANKED:
        return (
            f"with filter.reliability checkpoints and less than {MIN_ITERATIONS_RANKED} iterations, got {share}: "
            "checkpoints are kept after a third and two thirds of a training; raise train.iterations"
        )
    return None
