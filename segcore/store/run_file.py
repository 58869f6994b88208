"""run.json: which config a run was started with. A run_id stands for one config unless the user says otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from segcore.errors import RunChangedError, RunError
from segcore.store.canonical import JSON, canonical_json
from segcore.store.durable import make_folders, replace_file
from segcore.store.environment import environment
from segcore.store.layout import RunLayout
from segcore.store.steps import changed_fields

FORMAT = 1
WITHOUT_EFFECT = (
    "run_id", "runtime", "train.gpus", "train.workers", "train.checkpoint_every", "train.keep_checkpoints",
    "loop.require_approval",
)  # fmt: skip


@dataclass(frozen=True)
class RunFile:
    """Contents of run.json.

    config: the run config as plain JSON. created_with: versions at the start. changed: dotted names of the fields that
    the last update=True changed; () from the start.
    """

    run_id: str
    config: JSON
    created_with: JSON
    changed: tuple[str, ...] = ()
    format: int = FORMAT


def open_run_file(
    run_dir: Path, run_id: str, config: JSON, update: bool = False, completed: Callable[[JSON], JSON] | None = None
) -> RunFile:
    """Start a run, or go on with one that was started with the same config. Call with the run's lock held.

    completed: returns a stored config with the fields that configs have got since, so that these are no change.
    config: anything canonical_json accepts. Fields that change no result (WITHOUT_EFFECT) may differ. RunChangedError
    names the other fields that do, unless update, which stores the new config.
    """
    new = json.loads(canonical_json(config))
    if not RunLayout(run_dir).run_file.exists():
        return write_run_file(run_dir, RunFile(run_id, new, environment()))
    old = read_run_file(run_dir)
    before = old.config if completed is None else completed(old.config)
    changed = effective_changes(before, new)
    if changed and not update:
        raise RunChangedError(changed_message(run_dir, before, new, changed))
    if old.config == new:
        return old
    return write_run_file(run_dir, RunFile(run_id, new, old.created_with, changed or old.changed))


def read_run_file(run_dir: Path) -> RunFile:
    """Return a run's run.json; RunError when there is none, it is damaged, or a newer segloop wrote it."""
    path = RunLayout(run_dir).run_file
    try:
        fields = json.loads(path.read_bytes())
        if fields["format"] != FORMAT:
            raise RunError(
                f"{path} has format {fields['format']!r}, and this segloop reads {FORMAT}; "
                "install the segloop that wrote it, or start a new run under another run_id"
            )
        changed = tuple(str(name) for name in fields["changed"])
        return RunFile(str(fields["run_id"]), fields["config"], fields["created_with"], changed)
    except FileNotFoundError:
        raise RunError(f"{run_dir} must be a run folder with run.json, and has none; check the run_id") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}); check the disk and permissions") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path} must be JSON with run_id and config, and is damaged ({error}); "
            "delete this one file: finished steps are found again by their keys"
        ) from None


def write_run_file(run_dir: Path, run_file: RunFile) -> RunFile:
    """Write run.json, whole or not at all; return it as it will be read."""
    make_folders(run_dir)
    try:
        replace_file(RunLayout(run_dir).run_file, (canonical_indented(run_file) + "\n").encode("ascii"))
    except OSError as error:
        raise RunError(
            f"{run_dir}: run.json cannot be written ({error.strerror}); check disk and permissions"
        ) from error
    return run_file


def canonical_indented(value: JSON) -> str:
    """Return canonical JSON spread over lines for people."""
    return json.dumps(json.loads(canonical_json(value)), indent=1, sort_keys=True)


def effective_changes(old: JSON, new: JSON, without_effect: Sequence[str] = WITHOUT_EFFECT) -> tuple[str, ...]:
    """Return the dotted names of changed config fields that may change a result, sorted."""
    return tuple(
        name
        for name in changed_fields(old, new)
        if not any(name == free or name.startswith(free + ".") for free in without_effect)
    )


def changed_message(run_dir: Path, old: JSON, new: JSON, changed: Sequence[str]) -> str:
    """Return what somebody who resumes with another config is told."""
    lines = [f"  {name}: {shown(old, name)} -> {shown(new, name)}" for name in changed]
    return "\n".join(
        [
            f"{run_dir} was started with another config; changed fields:",
            *lines,
            "Undo the change, use another run_id, or pass --update to redo what depends on it (--plan shows what)",
        ]
    )


def shown(config: JSON, name: str) -> str:
    """Return the value of a dotted field as JSON; "absent" where there is none."""
    value = config
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            return "absent"
        value = value[part]
    return json.dumps(value)
