"""Config of ensembles: models that are trained beside each other and label together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from segcore.config.model_schema import NetworkConfig
from segcore.config.section import Section

MAX_MEMBERS = 15  # beyond model itself


class EnsembleConfig(Section):
    """Further models, trained every round on the same data and schedule as `model`; their soft vote is the student."""

    members: Annotated[tuple[NetworkConfig, ...], Field(max_length=MAX_MEMBERS)] = Field(
        (), description="models besides model; the same one again is trained with another seed"
    )
    weights: Literal["calib", "equal"] = Field(
        "calib", description="calib: members and their weights are chosen by their soft vote on calib images"
    )
