"""Checkpoints that a training resumes from: plain tensors, written atomically, verified before use.

mmengine's own delete the oldest file before the new one is written and need full unpickling. Here a file is complete
or absent, its sha256 lies beside it, the newest that verifies wins, and what does not verify is moved aside.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segcore.errors import CheckpointError

log = logging.getLogger(__name__)

FORMAT = 1
NAME = re.compile(r"^iteration_(\d{8})\.pth$")
ResumeState = dict[str, Any]


@dataclass(frozen=True)
class ResumeFiles:
    """The resume checkpoints of one training. keep: how many of the newest stay, at least 2.

    fingerprint: digest of what determines the training; a checkpoint of another training is moved aside.
    """

    folder: Path
    fingerprint: str
    keep: int

    def save(self, iteration: int, parts: ResumeState) -> Path:
        """Write the state after `iteration` iterations, then remove the oldest beyond keep.

        parts: what load_newest is to return beside the iteration, tensors and plain values.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"iteration_{iteration:08d}.pth"
        part = path.with_suffix(".part")
        state = {"format": FORMAT, "fingerprint": self.fingerprint, "iteration": iteration}
        torch.save({**state, **parts}, part)
        fsync(part)
        write_durably(digest_path(path), sha256_of(part))
        part.replace(path)
        fsync(self.folder)
        for old in self.newest_first()[max(self.keep, 2) :]:
            old.unlink()
            digest_path(old).unlink(missing_ok=True)
        return path

    def load_newest(self) -> ResumeState | None:
        """Return the newest state that verifies: iteration and what was saved; None to start from the beginning."""
        for path in self.newest_first():
            try:
                return self.verified(path)
            except CheckpointError as error:
                self.move_aside(path, str(error))
        return None

    def newest_first(self) -> list[Path]:
        """Return the checkpoints there are, newest first; their names sort by iteration."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted((path for path in found if NAME.match(path.name)), reverse=True)

    def newest_iteration(self) -> int:
        """Return the iteration of the newest checkpoint, 0 if there is none."""
        return max(map(self.iteration_of, self.newest_first()), default=0)

    def iteration_of(self, path: Path) -> int:
        """Return after how many iterations a checkpoint was written, which its name tells."""
        return int(path.stem.rpartition("_")[2])

    def verified(self, path: Path) -> ResumeState:
        """Return the state in a checkpoint; raise CheckpointError if it is damaged or belongs to another training."""
        expected = digest_path(path)
        if not expected.is_file() or expected.read_text().strip() != sha256_of(path):
            raise CheckpointError(f"resume checkpoint {path.name}: its sha256 is not the one written beside it")
        try:
            state: ResumeState = torch.load(path, "cpu", weights_only=True)
        except pickle.UnpicklingError:
            raise CheckpointError(
                f"resume checkpoint {path.name}: holds Python objects, which could run code; segloop never writes such"
            ) from None
        if state.get("format") != FORMAT or state.get("fingerprint") != self.fingerprint:
            raise CheckpointError(f"resume checkpoint {path.name}: belongs to a training with other settings")
        return state

    def move_aside(self, path: Path, reason: str) -> None:
        """Move a checkpoint that cannot be used to quarantine/, with its reason."""
        log.warning("%s; moved to quarantine, an older one is used", reason)
        quarantine = self.folder / "quarantine"
        quarantine.mkdir(exist_ok=True)
        place = next(
            quarantine / f"{path.stem}.{n}" for n in range(10**6) if not (quarantine / f"{path.stem}.{n}").exists()
        )
        place.mkdir()
        path.replace(place / path.name)
        if digest_path(path).exists():
            digest_path(path).replace(place / digest_path(path).name)
        (place / "reason.txt").write_text(reason + "\n")


def digest_path(path: Path) -> Path:
    """Return the file that holds a checkpoint's sha256."""
    return path.with_suffix(".sha256")


def sha256_of(path: Path) -> str:
    """Return a file's sha256, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_durably(path: Path, text: str) -> None:
    """Replace a small text file atomically and have it on disk."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    fsync(part)
    part.replace(path)


def fsync(path: Path) -> None:
    """Have a file or a folder's entries on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
