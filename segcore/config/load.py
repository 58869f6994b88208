"""Read a run config: YAML, then overrides, then validation, then paths made absolute."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from segcore.config.messages import explain, section_of
from segcore.config.model_schema import is_hub_name
from segcore.config.schema import RunConfig
from segcore.errors import ConfigError

MAX_CONFIG_BYTES = 1_000_000


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the validated config of a YAML file.

    overrides: "a.b=value" with a YAML value; applied in order before validation. Relative paths in the file are
    relative to its folder, relative paths in overrides to the working directory. `run_id` defaults to the file name.
    Raises ConfigError naming every wrong field.
    """
    raw = _absolute_paths(_read_yaml(path), RunConfig, path.resolve().parent)
    for override in overrides:
        _apply(raw, override)
    raw.setdefault("run_id", None)
    if raw["run_id"] is None:
        raw["run_id"] = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._") or "run"
    return parse_config(raw, str(path))


def parse_config(raw: Any, source: str) -> RunConfig:
    """Validate a plain mapping as a RunConfig. source: what error messages call it."""
    try:
        config = RunConfig.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(explain(error, RunConfig, source)) from None
    _check_together(config, source)
    _check_student(config, source)
    return config


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(
                f"{path}: expected a run config under {MAX_CONFIG_BYTES} bytes, got {path.stat().st_size}"
            )
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read this config ({error.strerror}); give the path of a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a mapping of sections (data, train, …), got {type(raw).__name__}")
    return raw


def _apply(raw: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set {override}: expected FIELD=VALUE, for example --set train.iterations=300")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML: {error}") from None
    *parents, leaf = name.strip().split(".")
    target = raw
    for part in parents:
        if target.get(part) is None:
            target[part] = {}
        target = target[part]
        if not isinstance(target, dict):
            raise ConfigError(f"--set {override}: {part} is not a section; set the whole field instead")
    branch: dict[str, Any] = {leaf: value}
    for part in reversed(parents):
        branch = {part: branch}
    value = _descend(_absolute_paths(branch, RunConfig, Path.cwd()), [*parents, leaf])
    target[leaf] = value


def _descend(branch: Any, names: Sequence[str]) -> Any:
    for name in names:
        branch = branch[name]
    return branch


def _absolute_paths(raw: dict[str, Any], model: type[BaseModel], folder: Path) -> dict[str, Any]:
    """Return `raw` with every value whose field is a Path made absolute against `folder`.

    `weights` of a model too, unless there is no such file or folder and the value can be a name on the hub.
    """
    result: dict[str, Any] = {}
    for name, value in raw.items():
        field = model.model_fields.get(name) if isinstance(name, str) else None
        result[name] = value if field is None else _absolute(value, field.annotation, name, folder)
    return result


def _absolute(value: Any, annotation: Any, name: str, folder: Path) -> Any:
    section = section_of(annotation)
    if section is not None and isinstance(value, dict):
        return _absolute_paths(value, section, folder)
    if section is not None and isinstance(value, list):
        return [_absolute_paths(item, section, folder) if isinstance(item, dict) else item for item in value]
    is_path = section is None and "Path" in str(annotation)
    is_weights = name == "weights" and annotation == (str | None) and value != "imagenet"
    if not isinstance(value, str) or not (is_path or is_weights):
        return value
    path = (folder / Path(value).expanduser()).resolve()
    return value if is_weights and is_hub_name(value) and not path.exists() else str(path)


def _check_together(config: RunConfig, source: str) -> None:
    """Refuse combinations that no single field shows."""
    if config.loop.rounds > 0 and not has_pool(config):
        raise ConfigError(
            f"{source}: loop.rounds is {config.loop.rounds}, but there are no images to pseudo-label; "
            "give data.unlabeled, or set loop.rounds to 0"
        )
    if config.data.test_labels is not None and config.data.test is None:
        raise ConfigError(f"{source}: data.test_labels is given without data.test; give both or neither")
    if config.data.test_labels is not None and config.roles.fold is not None:
        raise ConfigError(
            f"{source}: data.test_labels are the report set of an ordinary run, and a chain of a cross-validation has "
            "its fold for that; add --set data.test_labels=null, and score the result on the test images afterwards"
        )
    if config.filter.policy == "fixed" and isinstance(config.filter.tau, dict) and not config.filter.tau:
        raise ConfigError(f"{source}: filter.tau is empty; give one number, or one for every class")


def _check_student(config: RunConfig, source: str) -> None:
    """Refuse a start from weights that do not fit, and consistency training on no images."""
    student, model = config.student, config.model
    if student.start == "teacher":
        if any(not model.same_architecture(grown) for grown in student.growing):
            raise ConfigError(
                f"{source}: student.start is teacher, but student.growing names another architecture than model, which "
                "cannot take the teacher's weights; set student.start to fresh, or leave student.growing out"
            )
        if model.teacher is not None and model.config != model.teacher.config:
            raise ConfigError(
                f"{source}: student.start is teacher, so model must be what model.teacher is; give its file as "
                f"model.config ({model.teacher.config}, model.preset null), or set student.start to fresh"
            )
    if student.consistency is not None and not has_pool(config):
        raise ConfigError(
            f"{source}: student.consistency is given, but there are no images without labels to learn from; "
            "give data.unlabeled, or leave it out"
        )


def has_pool(config: RunConfig) -> bool:
    """Return whether there are images without labels that the run may learn from."""
    return bool(config.data.unlabeled or (config.data.test and config.pool.use_test))
