"""What would keep a run from working on this machine, each with its remedy. Looks only; mends nothing."""

from __future__ import annotations

import contextlib
import json
import platform
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.version import Version

from segcore.steps.run_folders import run_folders
from segcore.steps.status import RunStatus, run_status
from segcore.store.disk import free_gb
from segcore.store.layout import RunLayout
from segcore.store.lock import processes_with

MIN_PYTHON = (3, 11)
MIN_FREE_GB = 1.0
IMPORT_TIMEOUT_S = 180
PACKAGED = "efficientnet_lite"
OPENCV_PACKAGES = (
    "opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless",
)  # fmt: skip
INSTALL = "install segloop again: pip install -c constraints.txt -e ."


@dataclass(frozen=True)
class Diagnosis:
    """One thing looked at. severity: a "problem" keeps runs from working; a "note" waits for the user to act.

    remedy: "" where nothing is to be done.
    """

    severity: Literal["ok", "note", "problem"]
    message: str
    remedy: str = ""


def examine(artifacts: Path) -> list[Diagnosis]:
    """Return everything found, in the order in which a person would look."""
    return [
        python_version(),
        *packages(),
        *opencv_wheels(),
        *model_libraries(),
        disk(artifacts),
        *runs(artifacts),
    ]


def python_version() -> Diagnosis:
    """Look at the interpreter."""
    wanted = ".".join(str(part) for part in MIN_PYTHON)
    if sys.version_info < MIN_PYTHON:
        return Diagnosis("problem", f"Python {platform.python_version()}, at least {wanted} is needed", INSTALL)
    return Diagnosis("ok", f"Python {platform.python_version()} on {platform.platform()}")


def packages() -> Iterator[Diagnosis]:
    """Look at the packages segloop asks for, fastapi's and Prefect's bounds among them."""
    try:
        wanted = [Requirement(line) for line in metadata.requires("segloop") or ()]
        version = metadata.version("segloop")
    except metadata.PackageNotFoundError:
        yield Diagnosis("problem", "segloop itself is not installed as a package", INSTALL)
        return
    needed = [item for item in wanted if item.marker is None or item.marker.evaluate({"extra": ""})]
    wrong = [text for item in needed if (text := unmet(item)) is not None]
    yield from (Diagnosis("problem", text, INSTALL) for text in wrong)
    if not wrong:
        shown = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "onedl-mmsegmentation", "prefect"))
        yield Diagnosis("ok", f"segloop {version}, {len(needed)} packages in the versions it asks for ({shown})")


def unmet(requirement: Requirement) -> str | None:
    """Return what is wrong with one requirement; None when it is met."""
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} must be installed, and is not"
    if requirement.specifier.contains(found, prereleases=True):
        return None
    return f"{requirement.name} must be {requirement.specifier}, and is {found}"


def opencv_wheels() -> Iterator[Diagnosis]:
    """Look whether all installed OpenCV packages are of one version: they overwrite each other's files in cv2."""
    versions = {}
    for name in OPENCV_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    if len(set(versions.values())) > 1:
        found = ", ".join(f"{name} {version}" for name, version in versions.items())
        newest = max(versions.values(), key=Version)
        names = " ".join(f"{name}=={newest}" for name in versions)
        yield Diagnosis(
            "problem",
            f"packages that share the folder cv2 must be of one version, and are {found}",
            f"pip install --force-reinstall --no-deps {names}",
        )


def model_libraries() -> Iterator[Diagnosis]:
    """Import torch and mmsegmentation in a child, so that neither their time nor their crash is ours."""
    command = [sys.executable, "-m", "segcore.nn.doctor_process"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        yield Diagnosis("problem", f"torch and mmseg were not imported within {IMPORT_TIMEOUT_S} s", "try again")
        return
    except (ValueError, IndexError):
        tail = (done.stderr.strip() or "no output").splitlines()[-1]
        yield Diagnosis("problem", f"importing torch and mmseg ended with exit code {done.returncode}: {tail}", INSTALL)
        return
    yield from library_findings(found)


def library_findings(found: dict[str, Any]) -> Iterator[Diagnosis]:
    """Say what the child found (segcore/nn/doctor_process.py)."""
    for item in found["errors"]:
        yield Diagnosis("problem", f"{item['what']} cannot be imported: {item['error']}", INSTALL)
    if not found["errors"]:
        yield Diagnosis("ok", f"torch and mmseg can be imported; devices: {', '.join(found['devices'])}")
    yield from weights_findings(found["weights"])


def weights_findings(paths: dict[str, Any]) -> Iterator[Diagnosis]:
    """Say which presets' weights are on this machine. Those of EfficientNet-Lite are packages segloop asks for."""
    for preset, path in paths.items():
        if path is None and preset.startswith(PACKAGED):
            yield Diagnosis("problem", f"the ImageNet weights of preset {preset} are not installed", INSTALL)
    there = [preset for preset, path in paths.items() if path is not None]
    if there:
        others = len(paths) - len(there)
        more = f"; for {others} others `segloop run --check` names the command that fetches them" if others else ""
        yield Diagnosis("ok", f"published weights on this machine: {', '.join(there)}{more}")


def disk(artifacts: Path) -> Diagnosis:
    """Look at the room for run files."""
    free = free_gb(artifacts)
    if free < MIN_FREE_GB:
        return Diagnosis(
            "problem",
            f"{free:.2f} GB free for {artifacts}, runs ask for {MIN_FREE_GB:g} GB",
            "make room, or let runtime.artifacts name another disk",
        )
    return Diagnosis("ok", f"{free:.1f} GB free for {artifacts}")


def runs(artifacts: Path) -> Iterator[Diagnosis]:
    """Look at every run: who holds it, what was left unfinished, what was set aside."""
    found = [run_status(folder) for folder in run_folders(artifacts)]
    for run in found:
        yield from run_findings(run)
    finished = sum(run.state == "finished" for run in found)
    yield Diagnosis("ok", f"{len(found)} runs in {artifacts}, {finished} of them finished")


def run_findings(run: RunStatus) -> Iterator[Diagnosis]:
    """Look at one run."""
    again = "start it again with the command it was started with: it goes on where it stopped"
    if run.holder is not None:
        yield holder_finding(run)
    elif run.state == "interrupted":
        yield Diagnosis("note", f"run {run.run_id} was interrupted and nobody works on it", again)
    elif run.state == "stopped":
        reason = (run.last_error or "unknown reason").splitlines()[0]
        yield Diagnosis("note", f"run {run.run_id} stopped: {reason}", f"remove the cause, then {again}")
    if run.num_set_aside:
        yield Diagnosis(
            "note",
            f"run {run.run_id}: {run.num_set_aside} damaged files or folders in {run.folder / 'quarantine'}",
            "read their reason.json and check the disk; they are redone by themselves and may be deleted",
        )


def holder_finding(run: RunStatus) -> Diagnosis:
    """Tell a working owner from processes that a dead one left behind."""
    holder = run.holder
    assert holder is not None, "only with a holder"
    alive = processes_with(RunLayout(run.folder).lock_file)
    if holder.host == socket.gethostname() and alive and holder.pid not in alive:
        pids = ", ".join(str(pid) for pid in alive)
        return Diagnosis(
            "problem",
            f"run {run.run_id} is held by processes whose owner (pid {holder.pid}) is gone: {pids}",
            "wait for them to end, or end them; then start the run again",
        )
    return Diagnosis("ok", f"run {run.run_id} is held by {holder}")
