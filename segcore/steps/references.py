"""Which published steps rounds and outputs/ refer to, and what those were made from."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from segcore.errors import RunError, StepError
from segcore.store.canonical import JSON, file_sha256
from segcore.store.layout import RunLayout
from segcore.store.manifest import Manifest, read_manifest
from segcore.store.verify import step_folders

SHA256 = re.compile(r"[0-9a-f]{64}")
# copies that no two different steps share
TELLING_OUTPUTS = (
    "model.pth", "ensemble/ensemble.json", "annotations.json", "refit/model.pth", "refit/ensemble/ensemble.json",
)  # fmt: skip
# files whose hash, rather than the step's digest, goes into other steps' inputs
NAMED_FILES = ("label_maps.arrow", "confidence.arrow")


def referenced_steps(run_dir: Path, kept: frozenset[Path]) -> frozenset[Path]:
    """Return the folders that a round.json names or outputs/ were copied from, and those they were made from.

    kept: folders that stay anyway; where one of them has the content that something was made from, no other is needed.
    """
    manifests = readable_manifests(run_dir)
    names = set(round_strings(run_dir))
    stays = {entry.sha256 for folder in kept & manifests.keys() for entry in manifests[folder].files.values()}
    hashes = set(output_hashes(run_dir)) - stays
    layout = RunLayout(run_dir)
    wanted = [
        folder
        for folder, manifest in manifests.items()
        if named_in(layout.relative(folder), names) or hashes & {entry.sha256 for entry in manifest.files.values()}
    ]
    return frozenset(with_upstream(wanted, manifests, kept))


def readable_manifests(run_dir: Path) -> dict[Path, Manifest]:
    """Return the manifest of every published step that has a readable one."""
    found = {}
    for folder in step_folders(run_dir):
        with contextlib.suppress(StepError, RunError):
            found[folder] = read_manifest(folder)
    return found


def round_strings(run_dir: Path) -> Iterator[str]:
    """Yield every string in the run's round.json files, and in folds.json of a cross-validation."""
    for path in (*run_dir.glob("round_*/round.json"), RunLayout(run_dir).folds_file):
        with contextlib.suppress(OSError, ValueError):
            yield from strings_in(json.loads(path.read_bytes()))


def output_hashes(run_dir: Path) -> Iterator[str]:
    """Yield the sha256 of the outputs that tell which step they are of."""
    for name in TELLING_OUTPUTS:
        with contextlib.suppress(OSError):
            yield file_sha256(RunLayout(run_dir).outputs_dir / name)


def named_in(folder: str, names: set[str]) -> bool:
    """Return whether a folder, or a file in it, is among names."""
    return any(name == folder or name.startswith(folder + "/") for name in names)


def with_upstream(folders: list[Path], manifests: Mapping[Path, Manifest], kept: frozenset[Path]) -> set[Path]:
    """Return folders and every step whose content hash is an input of one of them, and so on; kept as above."""
    by_hash: dict[str, list[Path]] = {}
    for folder, manifest in manifests.items():
        for sha256 in content_hashes(manifest):
            by_hash.setdefault(sha256, []).append(folder)
    found, waiting = set(folders), list(folders)
    while waiting:
        inputs = manifests[waiting.pop()].inputs
        made_from = {text for text in strings_in(inputs) if SHA256.fullmatch(text)}
        for source in (by_hash[text] for text in made_from & by_hash.keys()):
            new = set() if kept.intersection(source) else set(source) - found
            found.update(new)
            waiting.extend(new)
    return found


def content_hashes(manifest: Manifest) -> Iterator[str]:
    """Yield the hashes by which other steps' inputs name a step: its digest, hashes in its value, some files."""
    yield manifest.digest
    yield from (text for text in strings_in(manifest.value) if SHA256.fullmatch(text))
    yield from (manifest.files[name].sha256 for name in NAMED_FILES if name in manifest.files)


def strings_in(value: JSON) -> Iterator[str]:
    """Yield every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for item in value.values() for text in strings_in(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in strings_in(item))
