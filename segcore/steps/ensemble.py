"""Models that label together, as somebody names them and as they lie on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from segcore.errors import ConfigError
from segcore.process.jobs import TeacherFiles
from segcore.records import ClassMap
from segcore.steps.config_chain import config_sha256
from segcore.steps.ensemble_files import is_ensemble
from segcore.steps.model_files import ModelFiles, ModelRequest, checkpoint_file, find_model
from segcore.steps.train import MODEL_CONFIG
from segcore.store.canonical import file_sha256


@dataclass(frozen=True)
class EnsembleRequest:
    """One model or several.

    run: folder or run_id, the model in its outputs/. checkpoints: weights files, or folders of runs or students.
    configs: one for each model, or for each that has none beside it, in the same order. weights: one for each model,
    or none for equal shares. classes: of models from outside.
    """

    run: str | None = None
    checkpoints: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    classes: str | None = None


@dataclass(frozen=True)
class Ensemble:
    """Models that were found, with their weights."""

    models: tuple[ModelFiles, ...]
    weights: tuple[float, ...]

    @property
    def first(self) -> ModelFiles:
        """Return the model whose run gives views and limits."""
        return self.models[0]

    @property
    def classes(self) -> ClassMap | None:
        """Return the classes that all models share; None when none of them tells."""
        return next((model.classes for model in self.models if model.classes is not None), None)

    @property
    def teachers(self) -> tuple[TeacherFiles, ...]:
        """Return the models as the prediction program is told of them."""
        return tuple(
            replace(files, weight=files.weight * weight)
            for model, weight in zip(self.models, self.weights, strict=True)
            for files in model.teachers
        )

    @cached_property
    def digests(self) -> tuple[tuple[str, str, float], ...]:
        """Return the sha256 of weights, of config and its bases, and the weight of each model in the vote."""
        return tuple(
            (file_sha256(Path(files.checkpoint)), config_sha256(Path(files.config)), files.weight)
            for files in self.teachers
        )


def find_ensemble(request: EnsembleRequest) -> Ensemble:
    """Return the files of all models; ConfigError or CheckpointError for what is missing or does not go together."""
    named = [ModelRequest(request.run, None)] if request.run is not None else []
    named += [ModelRequest(None, str(checkpoint_file(Path(path)))) for path in request.checkpoints]
    if not named:
        raise ConfigError("name the model by --run RUN or by --checkpoint FILE, one for each model; got neither")
    configs = matched_configs(named, request.configs)
    models = tuple(
        find_model(ModelRequest(model.run, model.checkpoint, config, request.classes))
        for model, config in zip(named, configs, strict=True)
    )
    require_same_classes(models)
    return Ensemble(models, matched_weights(request.weights, len(models)))


def matched_configs(models: Sequence[ModelRequest], configs: Sequence[str]) -> list[str | None]:
    """Return the config of each model in order, None for the one beside its weights."""
    if len(configs) == len(models):
        return list(configs)
    without = [index for index, model in enumerate(models) if not has_own_config(model)]
    if configs and len(configs) != len(without):
        raise ConfigError(
            f"--config must be given once for each of the {len(models)} models, or for each of the {len(without)} that "
            f"have no {MODEL_CONFIG} beside their weights, in the same order; got {len(configs)}"
        )
    given = dict(zip(without, configs, strict=False))
    return [given.get(index) for index in range(len(models))]


def has_own_config(model: ModelRequest) -> bool:
    """Return whether the config of a model lies beside its weights."""
    if model.checkpoint is None:
        return True
    path = Path(model.checkpoint).resolve()
    return is_ensemble(path) or path.with_name(MODEL_CONFIG).is_file()


def matched_weights(weights: Sequence[float], num_models: int) -> tuple[float, ...]:
    """Return a positive weight for each model."""
    if not weights:
        return (1.0,) * num_models
    if len(weights) != num_models or min(weights) <= 0:
        raise ConfigError(
            f"--weight must be a positive number for each of the {num_models} models, got {list(weights)}"
        )
    return tuple(weights)


def require_same_classes(models: Sequence[ModelFiles]) -> None:
    """Raise ConfigError when two models name different classes."""
    telling = [model for model in models if model.classes is not None]
    for model in telling[1:]:
        if model.known_classes.names != telling[0].known_classes.names:
            raise ConfigError(
                f"models that label together must have the same classes in the same order, got "
                f"{', '.join(telling[0].known_classes.names)} in {telling[0].checkpoint} and "
                f"{', '.join(model.known_classes.names)} in {model.checkpoint}"
            )
