"""Models laid out for other programs, under names that stay: one model, or an ensemble in a folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

from segcore.records import Checkpoint
from segcore.steps.ensemble_files import ENSEMBLE, ENSEMBLE_FOLDER, is_ensemble, read_ensemble
from segcore.steps.model_files import CLASSES
from segcore.steps.run import Run
from segcore.steps.train import LINEAGE, MODEL_CONFIG, WEIGHTS
from segcore.store.durable import place_file, replace_file, sync_folder

MODEL_FILES = (WEIGHTS, MODEL_CONFIG, LINEAGE)
MEMBER_FILES = (WEIGHTS, MODEL_CONFIG)


def place_model(run: Run, checkpoint: Checkpoint, folder: Path, classes: str) -> None:
    """Place the files of a checkpoint, and what its classes are, into a folder; what was there of another kind goes.

    classes: text of a classes.json. An ensemble gets the folder ensemble/ there, which is complete in itself.
    """
    source, own = run.path / checkpoint.path, folder / ENSEMBLE_FOLDER
    replace_file(folder / CLASSES, classes.encode("ascii"))
    if is_ensemble(source):
        place_ensemble(source.parent, own, classes)
        for name in MODEL_FILES:
            (folder / name).unlink(missing_ok=True)
    else:
        for name in MODEL_FILES:
            place_file(source.parent / name, folder / name)
        shutil.rmtree(own, ignore_errors=True)
    sync_folder(folder)


def place_ensemble(source: Path, target: Path, classes: str) -> None:
    """Place an ensemble's folder at target. Its ensemble.json comes last: where it is, it tells the truth."""
    target.mkdir(exist_ok=True)
    if not is_placed(source, target):
        (target / ENSEMBLE).unlink(missing_ok=True)
        sync_folder(target)
    names = {member.folder for member in read_ensemble(source / ENSEMBLE)}
    for old in target.iterdir():
        if old.is_dir() and old.name not in names:
            shutil.rmtree(old)
    for name in sorted(names):
        (target / name).mkdir(exist_ok=True)
        for file in MEMBER_FILES:
            place_file(source / name / file, target / name / file)
        sync_folder(target / name)
    replace_file(target / CLASSES, classes.encode("ascii"))
    place_file(source / LINEAGE, target / LINEAGE)
    place_file(source / ENSEMBLE, target / ENSEMBLE)
    sync_folder(target)


def is_placed(source: Path, target: Path) -> bool:
    """Return whether the ensemble at target has the members of the one at source."""
    placed = target / ENSEMBLE
    return placed.is_file() and placed.read_bytes() == (source / ENSEMBLE).read_bytes()
