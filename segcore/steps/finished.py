"""Runs that are there already, opened for reading: nothing is locked, nothing is written into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segcore.errors import RunError
from segcore.records import StepOutput
from segcore.steps.index import Index, index_step
from segcore.steps.run import Run
from segcore.store.layout import RunLayout, index_place
from segcore.store.publish import published_candidates
from segcore.store.run_file import read_run_file

ARTIFACTS = Path("artifacts")


def existing_run(name: str) -> Run:
    """Return the run that `name` means: a run folder, or a run_id under artifacts/. RunError when there is none."""
    for folder in (Path(name), ARTIFACTS / name):
        if RunLayout(folder).run_file.is_file():
            return Run(read_run_file(folder).run_id, str(folder.resolve()))
    raise RunError(f"{name}: expected a run folder with run.json, or a run_id under {ARTIFACTS}/, found neither")


def run_around(path: Path) -> Run | None:
    """Return the run whose folder `path` lies in, None when it lies in none."""
    for folder in path.resolve().parents:
        if RunLayout(folder).run_file.is_file():
            return Run(read_run_file(folder).run_id, str(folder))
    return None


def published_index(run: Run) -> Index:
    """Return the index of a run. Of several, after --update, the one made of the data as it is now."""
    found = published_candidates(run.path, index_place())
    if len(found) > 1:
        key = index_step(run).key
        found = tuple(item for item in found if item[1].key == key)
    if not found:
        raise RunError(f"{run.folder}: expected the index of its images, found none; start the run first")
    folder, manifest = found[0]
    output = StepOutput(manifest.kind, run.layout.relative(folder), manifest.key, manifest.digest, reused=True)
    value: Any = manifest.value
    return Index(output, value["digests"], value["num_images"])
