"""Folders that a run which comes through an API may name files under.

A model config is a Python file that is executed, and outputs overwrite what is there: who may start runs from afar
must not choose among all files of the machine. Links are followed first, so that none leads out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from segcore.config.model_schema import is_hub_name
from segcore.config.schema import RunConfig
from segcore.errors import ConfigError

ROOTS = "SEGLOOP_ROOTS"


def roots_from_environment() -> tuple[Path, ...] | None:
    """Return the folders in SEGLOOP_ROOTS, resolved; None when it is not set or empty.

    ConfigError when one is not an absolute path of a folder that exists.
    """
    text = os.environ.get(ROOTS, "")
    if not text:
        return None
    roots = tuple(Path(part) for part in text.split(os.pathsep) if part)
    for root in roots:
        if not root.is_absolute() or not root.is_dir():
            raise ConfigError(
                f"{ROOTS} must be absolute paths of folders with {os.pathsep!r} between, got {str(root)!r}; "
                "set it where the worker is started"
            )
    return tuple(root.resolve() for root in roots) or None


def require_under_roots(path: Path, roots: Sequence[Path], field: str) -> None:
    """Raise ConfigError unless a path, its links followed, lies in one of the roots or is one. field: for the error."""
    real = path.expanduser().resolve()
    if not any(real.is_relative_to(root.resolve()) for root in roots):
        led_to = "" if real == path else f", which is {real}"
        raise ConfigError(
            f"{field} must lie under {' or '.join(map(str, roots))}, got {path}{led_to}; move it there, or add its "
            f"folder to {ROOTS} where the worker is started (a run from the API may name no other files)"
        )


def require_config_under_roots(config: RunConfig, roots: Sequence[Path]) -> None:
    """Raise ConfigError unless every path in a config lies under the roots; see require_under_roots."""
    for field, path in paths_in(config):
        require_under_roots(path, roots, field)


def require_parameters_under_roots(parameters: Mapping[str, str | Sequence[str] | None], roots: Sequence[Path]) -> None:
    """Raise ConfigError unless every file that a run's parameters may name lies under the roots.

    parameters: by name; None and words such as a run_id are harmless, since as relative paths they lie where the flow
    runs, in a root. "list.json:folder" is looked at as a whole and in its parts.
    """
    for field, value in parameters.items():
        for text in (value,) if isinstance(value, str) else value or ():
            for part in (text, *text.split(":")):
                require_under_roots(Path(part), roots, field)


def paths_in(value: Any, field: str = "") -> Iterator[tuple[str, Path]]:
    """Yield every path in a config with the name of its field; a text with a slash counts as one.

    Text is looked at because model.weights is a word, a name on the hub, or a file.
    """
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from paths_in(getattr(value, name), f"{field}.{name}".lstrip("."))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from paths_in(item, f"{field}.{name}")
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from paths_in(item, f"{field}[{index}]")
    elif isinstance(value, Path):
        yield field, value
    elif isinstance(value, str) and "/" in value and not is_hub_name(value):  # load_config made weights absolute
        yield field, Path(value)
