"""Which network a round's student is, and what identifies it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from segcore.config.model_schema import NetworkConfig
from segcore.config.schema import RunConfig
from segcore.nn.presets import start_file
from segcore.process.jobs import ModelSpec
from segcore.records import ClassMap
from segcore.steps.config_chain import config_sha256
from segcore.store.canonical import file_sha256
from segcore.store.hash_memo import Identity, identity_of


def model_of(config: RunConfig, round_index: int, member: int = 0) -> NetworkConfig:
    """Return the network of one of a round's students. member: 0 for model, i for the i-th of ensemble.members.

    model grows from round to round as student.growing says; members stay what they are.
    """
    if member > 0:
        return config.ensemble.members[member - 1]
    growing = config.student.growing
    return config.model if round_index == 0 or not growing else growing[min(round_index, len(growing)) - 1]


def models_of(config: RunConfig) -> dict[str, NetworkConfig]:
    """Return every network that a run may train, by the field that names it."""
    growing = {f"student.growing[{i}]": model for i, model in enumerate(config.student.growing)}
    members = {f"ensemble.members[{i}]": model for i, model in enumerate(config.ensemble.members)}
    return {"model": config.model, **growing, **members}


def model_spec(model: NetworkConfig, classes: ClassMap) -> ModelSpec:
    """Return the network to train as the child programs take it."""
    return ModelSpec(
        preset=model.preset,
        config=None if model.config is None else str(model.config),
        weights=model.weights,
        head_channels=model.head_channels,
        class_names=classes.names,
        palette=classes.palette,
        tiny=model.tiny,
    )


def model_inputs(model: NetworkConfig) -> dict[str, Any]:
    """Return what identifies the untrained model: preset, or model config with its bases, and initial weights."""
    return {
        "preset": model.preset,
        "config": None if model.config is None else config_sha256(model.config),
        "weights": weights_identity(model),
        "head_channels": model.head_channels,
        "tiny": model.tiny,
    }


def weights_identity(model: NetworkConfig) -> str | None:
    """Return the sha256 of the file that the weights come from, by whatever name the config calls it.

    None for random values; the name for what a config file itself loads. CheckpointError if there is no such file.
    """
    path = start_file(model.preset, model.weights)
    return model.weights if path is None else sha256_of_unchanged(path, identity_of(path.stat()))


@lru_cache(maxsize=32)
def sha256_of_unchanged(path: Path, _: Identity) -> str:
    """Return the sha256 of a file; read again only when its identity has changed."""
    return file_sha256(path)
