"""From a ModelSpec or a config file to a network, and to a config with which plain mmseg opens it."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings
from mmseg.models import BaseSegmentor
from mmseg.registry import MODELS

from segcore.errors import ConfigError, SegloopError
from segcore.nn.presets import preset_named
from segcore.nn.start_weights import apply_start_weights, weights_path
from segcore.nn.weights import WeightReport
from segcore.process.jobs import ModelSpec


def model_config(spec: ModelSpec, size: int, trained: bool = True) -> Config:
    """Return the config of a student: model, imports and test pipelines, with nothing that is fetched or run on load.

    size: longer image side of training and of single-view prediction, px. trained: False for a model that will only
    label. A config file is executed; it is the user's own, named in the run config.
    """
    num_classes = len(spec.class_names)
    if spec.preset is not None:
        preset = preset_named(spec.preset)
        model = ConfigDict(preset.model(num_classes, spec.head_channels, spec.tiny))
        imports = list(preset.imports)
    else:
        given = read_config(Path(spec.config or ""))
        model, imports = given.model, list(given.get("custom_imports", {}).get("imports", []))
    adapt(model, num_classes, size, trained)
    return Config(
        {
            "default_scope": "mmseg",
            "custom_imports": {"imports": imports, "allow_failed_imports": False},
            "model": model,
            "test_pipeline": single_view(size),
            "tta_model": {"type": "SegTTAModel"},
            "tta_pipeline": flipped_views(size),
        }
    )


def read_config(path: Path) -> Config:
    """Read an mmsegmentation config file; its top-level data_preprocessor is moved into the model."""
    if not path.is_file():
        raise ConfigError(f"model config {path}: must be a file, but there is none")
    try:
        config = Config.fromfile(str(path))
    except Exception as error:  # a config file is a program: anything can go wrong in it
        raise ConfigError(f"model config {path}: cannot be read: {type(error).__name__}: {error}") from error
    if not isinstance(config.get("model"), dict):
        raise ConfigError(f"model config {path}: must have model=dict(...), got {sorted(config.keys())}")
    if "data_preprocessor" in config and "data_preprocessor" not in config.model:
        config.model.data_preprocessor = config.data_preprocessor
    return config


def adapt(model: ConfigDict, num_classes: int, size: int, trained: bool = True) -> None:
    """Fit a model dict in place to our classes and crops, and drop what would fetch weights or need several GPUs.

    A head of one sigmoid channel is trained as a softmax over both classes; it stays what it is where it only labels.
    """
    for head in heads(model):
        one_channel = head.get("out_channels") == 1
        if one_channel and not trained:
            continue
        head.num_classes = num_classes
        head.out_channels = num_classes
        head.setdefault("loss_decode", ConfigDict(type="CrossEntropyLoss"))
        for loss in nested_dicts(head.loss_decode) if one_channel else ():
            loss.pop("use_sigmoid", None)
    for part in nested_dicts(model):
        if part.get("type") == "SyncBN":
            part.type = "BN"
        if part.get("type") == "CrossEntropyLoss":
            part.setdefault("avg_non_ignore", True)  # pseudo-labels with much ignore must not weaken ground truth
    preprocessor = model.setdefault("data_preprocessor", ConfigDict(type="SegDataPreProcessor"))
    preprocessor.size = [size, size]
    preprocessor.pop("size_divisor", None)


def heads(model: ConfigDict) -> Iterator[ConfigDict]:
    """Yield the decode and auxiliary heads of a model dict."""
    for key in ("decode_head", "auxiliary_head"):
        found = model.get(key)
        yield from found if isinstance(found, (list, tuple)) else [found] if found else []


def nested_dicts(value: Any) -> Iterator[ConfigDict]:
    """Yield every dict inside value, itself included."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from nested_dicts(item)


def pretrained_sources(model: ConfigDict) -> list[str]:
    """Remove what a model dict would load by itself from file or network, and return the names, in place."""
    sources = [model.pop("pretrained", None)]
    for part in nested_dicts(model):
        sources.append(part.pop("pretrained", None) if isinstance(part.get("pretrained"), str) else None)
        initial = part.get("init_cfg")
        if isinstance(initial, dict) and initial.get("type") == "Pretrained":
            sources.append(part.pop("init_cfg").get("checkpoint"))
    return [source for source in sources if source]


def build_network(config: Config) -> BaseSegmentor:
    """Build the network of a config with random weights; nothing is loaded from file or network."""
    config = copy.deepcopy(config)
    pretrained_sources(config.model)
    init_default_scope("mmseg")
    try:
        import_modules_from_strings(**{"imports": [], **config.get("custom_imports", {})})
        network = MODELS.build(config.model)
    except SegloopError:
        raise
    except Exception as error:  # mmseg asserts and raises all sorts while it builds
        raise ConfigError(f"model config: the model cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(network, BaseSegmentor):
        raise ConfigError(f"model config: model must be an mmsegmentation segmentor, got {type(network).__name__}")
    return revert_sync_batchnorm(network)


def build_student(spec: ModelSpec, config: Config) -> BaseSegmentor:
    """Build the network to train, with its starting weights. config: of model_config; loses its pretrained entries."""
    return started_student(spec, config)[0]


def started_student(spec: ModelSpec, config: Config) -> tuple[BaseSegmentor, WeightReport | None]:
    """Build the network to train, and return how its starting weights fitted; None where they are random."""
    named = pretrained_sources(config.model)
    network = build_network(config)
    MMLogger.get_current_instance().setLevel(logging.WARNING)  # else three lines for every tensor
    network.init_weights()
    check_outputs(network, len(spec.class_names))
    if spec.weights is None:
        return network, None
    return network, apply_start_weights(network, weights_path(spec, named), spec.weights)


def check_outputs(network: BaseSegmentor, num_classes: int) -> None:
    """Raise ConfigError unless the classifier is a softmax over num_classes, or one sigmoid channel for two classes."""
    if network.out_channels != num_classes and (network.out_channels, num_classes) != (1, 2):
        raise ConfigError(
            f"model config: decode_head must have {num_classes} outputs, one per class, got {network.out_channels}"
        )


def single_view(size: int) -> list[dict[str, Any]]:
    """Return the mmseg pipeline of one view whose longer side is size px."""
    return [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": (size, size), "keep_ratio": True},
        {"type": "PackSegInputs"},
    ]


def flipped_views(size: int) -> list[dict[str, Any]]:
    """Return the mmseg pipeline of an image and its mirror image."""
    flips = [{"type": "RandomFlip", "prob": 0.0}, {"type": "RandomFlip", "prob": 1.0, "direction": "horizontal"}]
    resize = [{"type": "Resize", "scale": (size, size), "keep_ratio": True}]
    return [
        {"type": "LoadImageFromFile"},
        {"type": "TestTimeAug", "transforms": [resize, flips, [{"type": "PackSegInputs"}]]},
    ]
