"""Results appear whole or not at all, under the hash of what they were made from, and are never made twice."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from segcore.errors import RunError, StepError
from segcore.records import StepOutput
from segcore.store.canonical import JSON, canonical_json
from segcore.store.disk import written
from segcore.store.durable import make_folders, sync_folder, sync_tree, write_synced
from segcore.store.environment import environment
from segcore.store.hash_memo import memo_of
from segcore.store.layout import MANIFEST, RunLayout
from segcore.store.manifest import Manifest, check_files, content_digest, list_files, manifest_bytes, read_manifest
from segcore.store.quarantine import set_aside
from segcore.store.steps import KEY_CHARS, Step

logger = logging.getLogger(__name__)

Build = Callable[[Path], JSON]  # writes a step's files into the folder it is given, returns the step's value


@dataclass(frozen=True)
class Published:
    """A finished step.

    path: absolute folder, which for shared steps may lie in another round. digest: hash of files and value; what
    downstream keys use. value: what build returned, as JSON gives it back (tuples are lists). reused: made earlier.
    """

    path: Path
    kind: str
    key: str
    digest: str
    value: JSON
    reused: bool

    def output(self, run_dir: Path) -> StepOutput:
        """Return the small record that travels between tasks; its path is relative to run_dir."""
        return StepOutput(self.kind, RunLayout(run_dir).relative(self.path), self.key, self.digest, self.reused)


def ensure(run_dir: Path, step: Step, build: Build) -> Published:
    """Return the step's verified result, made by build only when there is none."""
    layout = RunLayout(run_dir)
    with step_lock(layout.step_dir(step)):
        found = find(run_dir, step)
        if found is None:
            return publish(run_dir, step, build)
        remove(layout.resume_dir(step))  # still there when the process died right after publishing
        return found


def find(run_dir: Path, step: Step) -> Published | None:
    """Return the step's result if it exists and is whole; None when it must be made.

    Checked are the key, the sizes and the sha256 of every file but logs (remembered while size, times and inode stay
    the same). What fails is moved to quarantine/ with its reason. RunError when the disk cannot be read.
    """
    return first_whole(run_dir, step, lambda folder, reason: set_aside(run_dir, folder, reason))


def look(run_dir: Path, step: Step) -> Published | None:
    """Return what find would, without moving anything: for plans and reports, which do not hold the run's lock."""
    return first_whole(run_dir, step, lambda folder, reason: logger.info("%s would be set aside: %s", folder, reason))


def first_whole(run_dir: Path, step: Step, on_broken: Callable[[Path, str], object]) -> Published | None:
    """Return the first candidate that passes every check; on_broken is told of each that does not, and why."""
    for folder in candidate_folders(run_dir, step):
        try:
            manifest = verified_manifest(run_dir, folder, step.key)
        except StepError as error:
            on_broken(folder, str(error))
            continue
        return Published(folder, step.kind, step.key, manifest.digest, manifest.value, reused=True)
    return None


def candidate_folders(run_dir: Path, step: Step) -> list[Path]:
    """Return existing folders that may hold the step's result, its own place first."""
    own = RunLayout(run_dir).step_dir(step)
    others = sorted(run_dir.glob(step.shared_pattern)) if step.shared_pattern else []
    outside_quarantine = [
        folder for folder in others if folder != own and not folder.is_relative_to(run_dir / "quarantine")
    ]
    return [folder for folder in (own, *outside_quarantine) if os.path.lexists(folder)]


def verified_manifest(run_dir: Path, folder: Path, key: str) -> Manifest:
    """Return a published folder's manifest after checking it and its files; StepError says what is wrong."""
    manifest = read_manifest(folder)
    if manifest.key != key:
        raise StepError(f"{folder / MANIFEST} must have key {key}, and has {manifest.key}")
    try:
        check_files(folder, manifest, memo_of(run_dir).sha256)
    except OSError as error:
        raise RunError(f"{folder} cannot be read ({error}); check the disk and permissions") from error
    return manifest


def publish(run_dir: Path, step: Step, build: Build) -> Published:
    """Make a step and publish it: all of it, durably, or nothing.

    build writes into <place>.<key8>.work/ and returns the step's value. Then every file is hashed and synced, the
    manifest written last, the folder renamed and its parent synced. The step's resume folder goes once that is done.
    StepError when files cannot be written; errors of build pass through. Either way nothing is published.
    """
    layout = RunLayout(run_dir)
    work = layout.work_dir(step)
    try:
        with written(step.place):
            prepare(layout, step)
            manifest = fill(work, step, build)
            reveal(work, layout.step_dir(step))
    except BaseException:
        remove(work)
        raise
    remove(layout.resume_dir(step))
    return Published(layout.step_dir(step), step.kind, step.key, manifest.digest, manifest.value, reused=False)


def prepare(layout: RunLayout, step: Step) -> None:
    """Make an empty work folder; remove what a dead attempt left, set aside what already has the step's name."""
    target, work = layout.step_dir(step), layout.work_dir(step)
    if os.path.lexists(target):
        set_aside(layout.run_dir, target, "made again by request")
    remove(work)
    make_folders(work)


def fill(work: Path, step: Step, build: Build) -> Manifest:
    """Run build in work, sync its files, and write the manifest as the last of them."""
    value = json.loads(canonical_json(build(work)))  # so that a reused step has exactly the value of a new one
    files = list_files(work)
    sync_tree(work)
    manifest = Manifest(
        kind=step.kind,
        version=step.version,
        key=step.key,
        digest=content_digest(files, value),
        inputs=json.loads(canonical_json(step.inputs)),
        value=value,
        files=files,
        environment=environment(),
    )
    write_synced(work / MANIFEST, manifest_bytes(manifest))
    sync_folder(work)
    return manifest


def reveal(work: Path, target: Path) -> None:
    """Give a finished work folder its final name, durably; take the name back when that cannot be promised."""
    work.rename(target)
    try:
        sync_folder(target.parent)
    except OSError:
        target.rename(work)
        raise


def remove(folder: Path) -> None:
    """Remove a work or resume folder; what cannot be removed now is only worth a warning."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.warning("could not remove %s: %s", folder, error)


def published_candidates(run_dir: Path, place: str) -> tuple[tuple[Path, Manifest], ...]:
    """Return folder and manifest of everything published under a place, whatever its key; unreadable ones left out.

    With steps.difference this answers which field makes a step be redone.
    """
    parent, name = (run_dir / place).parent, Path(place).name
    found = []
    for folder in sorted(parent.glob(f"{name}.{'[0-9a-f]' * KEY_CHARS}")):
        with contextlib.suppress(StepError, RunError):
            found.append((folder, read_manifest(folder)))
    return tuple(found)


locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


@contextlib.contextmanager
def step_lock(folder: Path) -> Iterator[None]:
    """Keep two threads of this process from making the same step; other processes are kept out by the run's lock."""
    with locks[folder]:
        yield
