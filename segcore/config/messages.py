"""Turn pydantic's findings into one message a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

Location = tuple[int | str, ...]


def explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    """Return one line a finding: field path, expectation, value found and, for a wrong name, the nearest valid one."""
    lines = [f"{source}: {len(error.errors())} problem(s) in the run config"]
    lines += [f"  {_finding(item, model)}" for item in error.errors()]
    return "\n".join(lines)


def nearest(name: str, valid: Mapping[str, Any] | list[str] | tuple[str, ...]) -> str | None:
    """Return the valid name most like `name`, or None when nothing is alike."""
    found = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return found[0] if found else None


def field_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted path of every field a run config may hold."""
    names = []
    for name, field in model.model_fields.items():
        names.append(prefix + name)
        section = section_of(field.annotation)
        if section is not None:
            names += field_names(section, f"{prefix}{name}.")
    return names


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section model inside an annotation such as `X`, `X | None` or `tuple[X, ...]`, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        found = section_of(part)
        if found is not None:
            return found
    return None


def _finding(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    location: Location = item["loc"]
    path = _dotted(location)
    if item["type"] == "extra_forbidden":
        return f"{path}: no such field{_hint(location, model)}"
    if item["type"] == "missing":
        return f"{path}: required, but not given"
    text = item["msg"].removeprefix("Value error, ")
    found = item.get("input")
    shown = "" if isinstance(found, BaseModel | dict) else f", got {found!r}"
    return f"{path}: {text}{shown}" if path else text


def _hint(location: Location, model: type[BaseModel]) -> str:
    parent = _section_at(location[:-1], model)
    wrong = str(location[-1])
    if parent is not None:
        near = nearest(wrong, list(parent.model_fields))
        if near is not None:
            return f"; did you mean {_dotted((*location[:-1], near))}?"
    elsewhere = [name for name in field_names(model) if name.split(".")[-1] == wrong]
    if elsewhere:
        return f"; did you mean {elsewhere[0]}?"
    return "" if parent is None else f"; valid here: {', '.join(parent.model_fields)}"


def _section_at(location: Location, model: type[BaseModel]) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part) if current is not None else None
        current = section_of(field.annotation) if field is not None else None
    return current


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)
