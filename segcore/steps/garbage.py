"""What a run folder holds that nothing refers to any more: neither a round, nor outputs/, nor the run as configured.

A published step goes only when a resume could not reuse it. Where the run is not finished, keys of the steps that
depend on what is still to be made are not known, and such steps stay. Call with the run's lock held: what is being
built then belongs to nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcore.config.load import parse_config
from segcore.errors import RunError
from segcore.steps.plan import plan_run
from segcore.steps.references import referenced_steps
from segcore.store.durable import sync_folder
from segcore.store.layout import FOLDS, RESUME_SUFFIX, WORK_SUFFIX, RunLayout
from segcore.store.run_file import read_run_file
from segcore.store.verify import NOT_STEPS, has_key

# where the loop publishes; what other programs leave elsewhere is not ours to judge
LOOP_PLACES = re.compile(
    r"index|round_\d{2,}/(evaluation|control_evaluation|(student|control|(control_)?votes)(_\d+)?|(control_)?ensemble)"
    r"|(round_\d{2,}|final)/(labels/shard_\d{4,}|calibration|pseudo_labels|card|guarded_labels)"
    r"|final/(report_evaluation|refit(_\d+)?|refit_ensemble)"
)
SHARED_PLACES = re.compile(r".*/labels/shard_\d{4,}")  # other rounds may reuse them (segcore/steps/label.py)
TEMPORARY = re.compile(r"\..+\.(new|\d+\.tmp)")  # written beside a file before it is replaced
OTHER_INPUTS = "made from other inputs than the run has now"
NOT_WANTED = "the run as configured makes no such step"


@dataclass(frozen=True)
class Garbage:
    """One file or folder that may go. num_bytes: what its removal frees; files with another name elsewhere stay."""

    path: Path
    reason: str
    num_bytes: int


@dataclass(frozen=True)
class Reach:
    """What the run as configured would reuse, as far as its steps' keys can be known now.

    keys: key by place of every step with known inputs. found: folders of their results. complete: everything is
    there, so that no other step will be asked for.
    """

    keys: Mapping[str, str]
    found: frozenset[Path]
    complete: bool

    def reason_against(self, folder: Path, name: str) -> str | None:
        """Return why a step's folder can go, None when it may be needed. name: place and key, without suffix."""
        place, _, key = name.rpartition(".")
        if folder in self.found or not LOOP_PLACES.fullmatch(place):
            return None
        wanted = self.keys.get(place)
        if wanted is not None:
            may_serve = wanted.startswith(key) or (not self.complete and SHARED_PLACES.fullmatch(place))
            return None if may_serve else OTHER_INPUTS
        return NOT_WANTED if self.complete else None


def find_garbage(run_dir: Path) -> tuple[Garbage, ...]:
    """Return everything that can go, by path; nothing is touched.

    DataError when the images cannot be looked at, RunError when the folder is not one of this segloop.
    """
    reach = reach_of(run_dir)
    referenced = referenced_steps(run_dir, reach.found)
    found = []
    for path in candidates(run_dir):
        reason = reason_for(run_dir, path, reach, referenced)
        if reason is not None:
            found.append(Garbage(path, reason, size_of(path)))
    return tuple(found)


def reach_of(run_dir: Path) -> Reach:
    """Return what the config in run.json reaches. With an index of other data nothing is known."""
    config = parse_config(read_run_file(run_dir).config, str(RunLayout(run_dir).run_file))
    plan = plan_run(config, run_dir)
    if not any(step.kind == "index" and published for step, published in plan.met):
        return Reach({}, frozenset(), complete=False)
    return Reach(
        keys={step.place: step.key for step, _ in plan.met},
        found=frozenset(published.path for _, published in plan.met if published is not None),
        complete=all(step.verdict in ("reuse", "again") for step in plan.steps),
    )


def candidates(run_dir: Path) -> Iterator[Path]:
    """Yield published steps, unfinished ones, temporary files and what was set aside, each folder as a whole."""
    layout = RunLayout(run_dir)
    for parent, folders, files in os.walk(run_dir):
        here = Path(parent)
        if here == run_dir:
            folders[:] = [name for name in folders if name not in NOT_STEPS or name == "outputs"]
        whole = [name for name in folders if is_unit(name)]
        folders[:] = [] if here == layout.outputs_dir else sorted(set(folders) - set(whole))
        yield from (here / name for name in sorted(whole + [name for name in files if TEMPORARY.fullmatch(name)]))
    yield from sorted(layout.quarantine_dir.iterdir()) if layout.quarantine_dir.is_dir() else ()


def is_unit(name: str) -> bool:
    """Return whether a folder is kept or removed as a whole."""
    return has_key(name) or name.endswith((WORK_SUFFIX, RESUME_SUFFIX)) or bool(TEMPORARY.fullmatch(name))


def reason_for(run_dir: Path, path: Path, reach: Reach, referenced: frozenset[Path]) -> str | None:
    """Return why a candidate can go; None when it stays."""
    name = RunLayout(run_dir).relative(path)
    if path.parent == RunLayout(run_dir).quarantine_dir:
        return f"set aside: {reason_of(path)}"
    if TEMPORARY.fullmatch(path.name) or name.endswith(WORK_SUFFIX):
        return "left by an interrupted attempt"
    if name.endswith(RESUME_SUFFIX):
        step_name = name.removesuffix(RESUME_SUFFIX)
        return "its step is done" if run_dir / step_name in reach.found else reach.reason_against(path, step_name)
    if path in referenced:
        return None
    left_over = name.startswith(f"{FOLDS}/") and RunLayout(run_dir).folds_file.is_file()
    return OTHER_INPUTS if left_over else reach.reason_against(path, name)


def reason_of(folder: Path) -> str:
    """Return why something was set aside, in one line."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        reason: Any = json.loads((folder / "reason.json").read_bytes())["reason"]
        return str(reason).splitlines()[0]
    return "for a reason that cannot be read"


def size_of(path: Path) -> int:
    """Return how many bytes removing a file or folder frees."""
    files = [path] if not path.is_dir() else [file for file in path.rglob("*") if file.is_file()]
    return sum(status.st_size for status in (file.lstat() for file in files) if status.st_nlink == 1)


def remove_garbage(run_dir: Path, item: Garbage) -> None:
    """Remove one thing, and the folders that are empty without it. RunError when it cannot be removed."""
    path = item.path
    try:
        if path.is_dir():
            shutil.rmtree(hidden_from_readers(path))
        else:
            path.unlink()
    except OSError as error:
        raise RunError(f"{path} cannot be removed ({error}); mend permissions and run gc again") from error
    for parent in path.parents:
        if parent == run_dir or any(parent.iterdir()):
            return
        parent.rmdir()


def hidden_from_readers(folder: Path) -> Path:
    """Take a published step's name away before its files go, so that a half-removed one is never taken for whole."""
    if not has_key(folder.name):
        return folder
    work = folder.with_name(folder.name + WORK_SUFFIX)
    shutil.rmtree(work, ignore_errors=True)
    folder.rename(work)
    sync_folder(work.parent)
    return work
