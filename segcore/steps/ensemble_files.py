"""An ensemble on disk: a folder with ensemble.json and a folder for each member, complete in itself.

A Checkpoint may name one model or an ensemble; `teacher_files` tells what labels in either case. ensemble.json holds
hashes and shares alone, so that its own hash stands for all that decides what the ensemble predicts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segcore.errors import CheckpointError
from segcore.process.jobs import TeacherFiles
from segcore.records import Checkpoint
from segcore.steps.earlier import KEPT
from segcore.steps.run import Run
from segcore.steps.train import MODEL_CONFIG, WEIGHTS

ENSEMBLE, ENSEMBLE_FOLDER = "ensemble.json", "ensemble"
FORMAT = 1


@dataclass(frozen=True)
class Member:
    """One model of an ensemble. model: its place in the config, 0 for model. share: of the vote, in (0, 1].

    weights, model_config: sha256 of its files.
    """

    model: int
    share: float
    weights: str
    model_config: str

    @property
    def folder(self) -> str:
        """Return the name of the folder with its files."""
        return f"member_{self.model}"


def is_ensemble(checkpoint: Path) -> bool:
    """Return whether a checkpoint's file means several models."""
    return checkpoint.name == ENSEMBLE


def ensemble_text(members: Sequence[Member]) -> str:
    """Return the text of an ensemble.json; equal members give equal bytes."""
    content = {"format": FORMAT, "members": [asdict(member) for member in members]}
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def read_ensemble(path: Path) -> tuple[Member, ...]:
    """Return the members in an ensemble.json, in the order of the config. CheckpointError when it is none."""
    try:
        content: Any = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}")
        members = tuple(
            Member(int(row["model"]), float(row["share"]), str(row["weights"]), str(row["model_config"]))
            for row in content["members"]
        )
        if not members:
            raise ValueError("no members")
        return members
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: expected the members of an ensemble, format {FORMAT}, cannot read it: {error!r}; name one model, "
            "or let the run make it again"
        ) from error


def teacher_files(weights: Path, config: Path) -> tuple[TeacherFiles, ...]:
    """Return the models that label: one by itself, or all members of an ensemble with their shares.

    weights: absolute, of a model or an ensemble.json; config: of a model, not looked at for an ensemble.
    """
    if not is_ensemble(weights):
        return (TeacherFiles(str(weights), str(config)),)
    folders = ((weights.parent / member.folder, member.share) for member in read_ensemble(weights))
    return tuple(TeacherFiles(str(folder / WEIGHTS), str(folder / MODEL_CONFIG), share) for folder, share in folders)


def teachers_of(run: Run, checkpoint: Checkpoint) -> tuple[TeacherFiles, ...]:
    """Return the models that a run's checkpoint means."""
    return teacher_files(run.path / checkpoint.path, run.path / checkpoint.config)


def earlier_teachers(run: Run, checkpoint: Checkpoint) -> tuple[TeacherFiles, ...]:
    """Return the weights that were kept on the way to a checkpoint, oldest first; of an ensemble, member by member."""
    if not checkpoint.earlier:
        return ()
    return tuple(
        TeacherFiles(str(kept), files.config)
        for files in teachers_of(run, checkpoint)
        for kept in sorted(Path(files.checkpoint).parent.glob(KEPT))
    )


def member_of(run: Run, checkpoint: Checkpoint | None, model: int) -> Checkpoint | None:
    """Return the member of an ensemble that comes from a place in the config; None when it has none from there.

    A checkpoint that is no ensemble is the member that comes from model itself.
    """
    if checkpoint is None or not is_ensemble(run.path / checkpoint.path):
        return checkpoint if model == 0 else None
    folder = Path(checkpoint.path).parent
    for member in read_ensemble(run.path / checkpoint.path):
        if member.model == model:
            own = folder / member.folder
            weights, config = ((own / name).as_posix() for name in (WEIGHTS, MODEL_CONFIG))
            return Checkpoint(weights, member.weights, config, checkpoint.lineage)
    return None
