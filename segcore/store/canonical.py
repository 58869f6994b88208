"""One spelling for every value, so that equal values have equal hashes wherever and whenever they are computed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, TypeAlias

JSON: TypeAlias = (
    Any  # whatever plain() accepts: the type system cannot say "recursively JSON" without casts everywhere
)


ALREADY_PLAIN = frozenset((str, int, bool, type(None)))
SPELLED_ALIKE = ALREADY_PLAIN | {float}  # by json as by canonical_json, but for NaN, infinities and -0.0
ONLY_STRINGS = frozenset((str,))
SEQUENCES = (list, tuple)


def canonical_json(value: JSON) -> str:
    """Return the one JSON spelling of value: ASCII, keys sorted, no spaces, floats as repr.

    Paths become POSIX strings; tuples, lists and (sorted) sets become lists; dataclasses and pydantic models become
    objects of their fields; -0.0 becomes 0.0. ValueError for NaN and infinities, TypeError for any other type and for
    keys that are not strings; both name the dotted place of the value.
    """
    if is_nearly_plain(value):
        with contextlib.suppress(ValueError):  # NaN or an infinity, whose place plain() names
            text = dump(value)
            if "-0.0" not in text:  # perhaps of a string, perhaps of -0.05: plain() tells
                return text
    return dump(plain(value))


def dump(value: JSON) -> str:
    """Return the canonical spelling of a plain value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest_of(value: JSON) -> str:
    """Return the sha256 of value's canonical JSON as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hex digits; memory use does not grow with the file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_nearly_plain(value: JSON) -> bool:
    """Return whether json spells a value as canonical_json does, but for floats without a spelling and -0.0.

    A fraction of the time that plain() takes, which matters with a hundred thousand images.
    """
    pending = [] if type(value) in SPELLED_ALIKE else [value]
    while pending:
        item = pending.pop()
        if isinstance(item, SEQUENCES):
            pending += [part for part in item if type(part) not in SPELLED_ALIKE]
        elif isinstance(item, dict) and ONLY_STRINGS.issuperset(map(type, item)):
            pending += [part for part in item.values() if type(part) not in SPELLED_ALIKE]
        else:
            return False
    return True


def plain(value: JSON, place: str = "value") -> JSON:
    """Return value built from None, bool, int, float, str, list and dict only, as canonical_json writes it.

    place: dotted name of value, for error messages.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return plain_float(value, place)
    if isinstance(value, PurePath):
        return value.as_posix()
    if isinstance(value, Mapping):
        return {
            plain_key(key, place): item if type(item) in ALREADY_PLAIN else plain(item, f"{place}.{key}")
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [
            item if type(item) in ALREADY_PLAIN else plain(item, f"{place}[{index}]")
            for index, item in enumerate(value)
        ]
    if isinstance(value, set | frozenset):
        return sorted((plain(item, f"{place}{{}}") for item in value), key=canonical_json)
    return plain_record(value, place)


def plain_float(value: float, place: str) -> float:
    """Return value as a Python float; ValueError when it is NaN or infinite."""
    if not math.isfinite(value):
        raise ValueError(
            f"{place} must be a finite number to be stored or hashed, got {value}; use None for 'no value'"
        )
    return float(value) + 0.0  # turns -0.0 into 0.0: they are equal and must hash alike


def plain_key(key: object, place: str) -> str:
    """Return key when it is a string; TypeError otherwise, because 1 and "1" would become the same key."""
    if not isinstance(key, str):
        raise TypeError(f"keys of {place} must be strings, got {key!r} of type {type(key).__name__}; convert it first")
    return key


def plain_record(value: JSON, place: str) -> JSON:
    """Return a dataclass or pydantic model as an object of its fields; TypeError for anything else."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: plain(getattr(value, name), f"{place}.{name}") for name in names}
    if hasattr(value, "model_dump") and not isinstance(value, type):  # pydantic, without importing it here
        return plain(value.model_dump(mode="python"), place)
    raise TypeError(
        f"{place} has type {type(value).__name__}, which has no canonical JSON form; "
        "convert it to numbers, strings, lists, dicts, dataclasses or pydantic models first"
    )
