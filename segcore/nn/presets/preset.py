"""What a preset is: an architecture, the width of its head, and where its published weights lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from segcore.nn.presets.parts import SHRINK, ModelDict
from segcore.nn.presets.published import PublishedWeights


class Architecture(Protocol):
    """A network whose sizes are known."""

    def model(self, num_classes: int, head_channels: int) -> ModelDict:
        """Return the model= dict of an mmsegmentation config."""
        ...

    def tiny(self) -> Architecture:
        """Return the same network at a fraction of its width and depth."""
        ...


@dataclass(frozen=True)
class Preset:
    """A model by name.

    head_channels: width of its decode head. imports: modules that register what mmseg does not have.
    weights: what `model.weights: imagenet` stands for.
    """

    architecture: Architecture
    head_channels: int
    imports: tuple[str, ...]
    weights: PublishedWeights

    def model(self, num_classes: int, head_channels: int | None = None, tiny: bool = False) -> ModelDict:
        """Return the model= dict of an mmsegmentation config. head_channels: None for the preset's own."""
        own = self.head_channels // SHRINK if tiny else self.head_channels
        architecture = self.architecture.tiny() if tiny else self.architecture
        return architecture.model(num_classes, own if head_channels is None else head_channels)
