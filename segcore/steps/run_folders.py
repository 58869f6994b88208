"""Run folders under an artifacts folder, found by name. Standard library only: status answers at once."""

from __future__ import annotations

import difflib
from pathlib import Path

from segcore.errors import RunError
from segcore.store.layout import RunLayout


def run_folders(artifacts: Path) -> tuple[Path, ...]:
    """Return the absolute run folders in an artifacts folder, by name; none when there is no such folder."""
    if not artifacts.is_dir():
        return ()
    return tuple(sorted(folder for folder in artifacts.resolve().iterdir() if is_run_folder(folder)))


def is_run_folder(folder: Path) -> bool:
    """Return whether somebody started a run here: run.json is there, or at least the lock."""
    layout = RunLayout(folder)
    return layout.run_file.is_file() or layout.lock_file.is_file()


def named_run(run: str, artifacts: Path) -> Path:
    """Return the absolute folder of a run, given its run_id or its path; RunError when there is none."""
    for folder in (artifacts / run, Path(run)):
        if is_run_folder(folder):
            return folder.resolve()
    names = [folder.name for folder in run_folders(artifacts)]
    near = difflib.get_close_matches(run, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"runs there: {', '.join(names[:10]) or 'none'}"
    raise RunError(
        f"{run} must be the run_id of a run in {artifacts} or the path of a run folder, and is neither; {hint} "
        "(--artifacts names another folder)"
    )
