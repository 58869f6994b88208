"""A step: one unit of work whose result is stored under the hash of everything that can change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from segcore.store.canonical import JSON, digest_of, plain

KEY_CHARS = 8  # hex digits of the key in folder names; the manifest holds all 64

MISSING = object()


@dataclass(frozen=True)
class Step:
    """What is to be made, from what, and where it goes.

    kind: "index", "train", "label" … version: raised by hand when the step's behaviour changes.
    place: POSIX path in the run folder without key, e.g. "round_01/labels/shard_0003".
    inputs: everything the result depends on and nothing else (no paths, workers or devices): content hashes of
    upstream outputs, the relevant config fields, seeds.
    shared: a result of the same last part of place and the same key in another round serves as well, so that
    an old teacher's labels are reused by later rounds.
    """

    kind: str
    version: int
    place: str
    inputs: Mapping[str, JSON]
    shared: bool = False

    @cached_property
    def key(self) -> str:
        """Return the sha256 of kind, version and inputs as 64 hex digits."""
        return step_key(self.kind, self.version, self.inputs)

    @property
    def folder(self) -> str:
        """Return the POSIX path of the published folder, relative to the run folder."""
        return f"{self.place}.{self.key[:KEY_CHARS]}"

    @property
    def shared_pattern(self) -> str | None:
        """Return the glob that finds this result in any round; None when the step is not shared or not in a round."""
        first, slash, rest = self.folder.partition("/")
        return f"*/{rest}" if self.shared and slash and first else None


def step_key(kind: str, version: int, inputs: JSON) -> str:
    """Return the key of a step of these parts; manifests are checked against it."""
    return digest_of({"kind": kind, "version": version, "inputs": inputs})


def difference(step: Step, old_inputs: JSON) -> tuple[str, ...]:
    """Return the dotted names of the inputs in which step differs from old_inputs, sorted.

    >>> difference(Step("train", 1, "round_00/student", {"train": {"lr": 0.1, "size": 64}}), {"train": {"lr": 0.2}})
    ('train.lr', 'train.size')
    """
    return changed_fields(old_inputs, step.inputs)


def changed_fields(old: JSON, new: JSON) -> tuple[str, ...]:
    """Return the dotted names of all fields in which two JSON-able values differ, sorted; () when they are equal.

    Lists are compared as wholes: an inserted item would otherwise rename all that follow.
    """
    return tuple(sorted(differing(plain(old), plain(new), "")))


def differing(old: JSON, new: JSON, place: str) -> list[str]:
    """Return the dotted names under place in which two plain values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        pairs = [(name, old.get(name, MISSING), new.get(name, MISSING)) for name in names]
        return [found for name, a, b in pairs for found in differing(a, b, f"{place}.{name}" if place else name)]
    same = type(old) is type(new) and old == new
    return [] if same else [place or "(everything)"]
