"""Every published byte of a run, hashed again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from segcore.errors import SegloopError
from segcore.store.canonical import file_sha256
from segcore.store.layout import MANIFEST, RESUME_SUFFIX, WORK_SUFFIX, RunLayout
from segcore.store.manifest import Manifest, check_files, is_log, read_manifest
from segcore.store.steps import KEY_CHARS

NOT_STEPS = ("quarantine", "outputs", "logs")


@dataclass(frozen=True)
class Finding:
    """One thing found. folder: POSIX, relative to the run. harmful: whether a resume would redo the step."""

    folder: str
    problem: str
    harmful: bool


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what was wrong with it."""

    num_steps: int
    num_files: int
    num_bytes: int
    findings: tuple[Finding, ...]

    @property
    def whole(self) -> bool:
        """Return whether every published step is what its manifest says."""
        return not any(finding.harmful for finding in self.findings)


def verify_run(run_dir: Path) -> Verification:
    """Hash every file of every published step again, ignoring the memo. Reads only; nothing is moved."""
    manifests: list[Manifest] = []
    findings: list[Finding] = []
    for folder in step_folders(run_dir):
        place = RunLayout(run_dir).relative(folder)
        try:
            manifest = read_manifest(folder)
            manifests.append(manifest)
            check_name(folder, manifest)
            check_files(folder, manifest, lambda path, _: file_sha256(path))
        except (SegloopError, OSError) as error:
            findings.append(Finding(place, str(error), harmful=True))
            continue
        findings += [Finding(place, problem, harmful=False) for problem in oddities(folder, manifest)]
    files = [entry for manifest in manifests for entry in manifest.files.values()]
    return Verification(len(manifests), len(files), sum(entry.size for entry in files), tuple(findings))


def step_folders(run_dir: Path) -> Iterator[Path]:
    """Yield the folders of published steps, by name: those that end in a key."""
    for parent, folders, _ in os.walk(run_dir):
        folders.sort()
        here = Path(parent)
        if here == run_dir:
            folders[:] = [name for name in folders if name not in NOT_STEPS]
        folders[:] = [name for name in folders if not name.endswith((WORK_SUFFIX, RESUME_SUFFIX))]
        steps = [name for name in folders if has_key(name)]
        folders[:] = [name for name in folders if name not in steps]
        yield from (here / name for name in steps)


def has_key(name: str) -> bool:
    """Return whether a folder's name ends as a published step's does."""
    key = name.rpartition(".")[2]
    return "." in name and len(key) == KEY_CHARS and set(key) <= set("0123456789abcdef")


def check_name(folder: Path, manifest: Manifest) -> None:
    """Raise SegloopError unless the folder carries its manifest's key."""
    if not folder.name.endswith("." + manifest.key[:KEY_CHARS]):
        raise SegloopError(f"{folder} must end in the key of its manifest, {manifest.key[:KEY_CHARS]}; it was renamed")


def oddities(folder: Path, manifest: Manifest) -> list[str]:
    """Return what is unusual about a folder without making it unusable: lost or changed logs, files nobody listed."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = {path.relative_to(folder).as_posix() for path in paths} - {MANIFEST}
    logs = [name for name in manifest.files if is_log(name)]
    lost = [f"log {name} is missing" for name in logs if name not in names]
    changed = [
        f"log {name} has changed"
        for name in logs
        if name in names and file_sha256(folder / name) != manifest.files[name].sha256
    ]
    return lost + changed + [f"{name} is not in the manifest" for name in sorted(names - set(manifest.files))]
