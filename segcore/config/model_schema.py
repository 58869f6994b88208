"""Config of models: what is trained, and what may label in its place."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, model_validator

from segcore.config.data_schema import ImageList
from segcore.config.section import PositiveInt, Section

NO_ARCHITECTURE = {"weights", "teacher"}
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
WEIGHTS_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")


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
        "imagenet",
        description="'imagenet' (the preset's own), a file, a folder of the hub's files, owner/name on the hub (found "
        "in its cache, never fetched), or None: random",
    )
    head_channels: PositiveInt | None = Field(None, description="width of the preset's decode head; None: its own")
    tiny: bool = Field(
        False, description="the preset at a fraction of its width and depth, to try a config in minutes on a CPU"
    )

    @model_validator(mode="after")
    def _one_source(self) -> NetworkConfig:
        if (self.preset is None) == (self.config is None):
            raise ValueError("exactly one of preset and config must be given; set the other to null")
        return self

    @model_validator(mode="after")
    def _tiny_is_random(self) -> NetworkConfig:
        if self.tiny and self.preset is None:
            raise ValueError("tiny is for presets: a config file says its sizes itself; set tiny to false")
        if self.tiny and self.weights is not None:
            raise ValueError(f"no published weights fit a tiny model; set weights to null, got {self.weights!r}")
        return self

    def same_architecture(self, other: NetworkConfig) -> bool:
        """Return whether the weights of one fit the other: all but weights are equal."""
        mine, theirs = (item.model_dump(exclude=NO_ARCHITECTURE) for item in (self, other))
        return mine == theirs


class ModelConfig(NetworkConfig):
    """The network of the students, and what may label in place of the first."""

    teacher: GivenTeacher | None = None


def is_hub_name(weights: str) -> bool:
    """Return whether weights reads as owner/name on the Hugging Face hub, not as a path."""
    return HUB_NAME.fullmatch(weights) is not None and not weights.endswith(WEIGHTS_SUFFIXES)
