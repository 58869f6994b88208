"""Config of models: what is trained, and what may label in its place."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from segcore.config.data_schema import ImageList
from segcore.config.section import PositiveInt, Section

NO_ARCHITECTURE = {"weights", "teacher"}


class GivenTeacher(Section):
    """A checkpoint from outside that labels round 1 in place of a trained round 0."""

    checkpoint: Path
    config: Path
    trained_on: tuple[ImageList, ...] = Field(description="every image it was trained on; () if none of yours")


class NetworkConfig(Section):
    """A network to train: a preset by name, or any mmsegmentation config file."""

    preset: str | None = Field("efficientnet_lite0_upernet", description="name of a preset; None when config is given")
    config: Path | None = Field(None, description="mmsegmentation config file with a model= dict")
    weights: str | None = Field(
        "imagenet", description="'imagenet' (the preset's own), a weights file, or None: random"
    )
    head_channels: PositiveInt = Field(64, description="width of the preset's UPerNet head")

    @model_validator(mode="after")
    def _one_source(self) -> NetworkConfig:
        if (self.preset is None) == (self.config is None):
            raise ValueError("exactly one of preset and config must be given; set the other to null")
        return self

    def same_architecture(self, other: NetworkConfig) -> bool:
        """Return whether the weights of one fit the other: all but weights are equal."""
        mine, theirs = (item.model_dump(exclude=NO_ARCHITECTURE) for item in (self, other))
        return mine == theirs


class ModelConfig(NetworkConfig):
    """The network of the students, and what may label in place of the first."""

    teacher: GivenTeacher | None = None
