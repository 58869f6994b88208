"""Weights that a training keeps on its way, so that images can be ranked by how early they were learnt.

ST++ (Yang et al. 2022, CVPR, section 3.3) calls an image reliable when earlier checkpoints of a training already say
what the last one says. Such weights lie in the resume folder, each with its sha256, until the training is done: a
training that is stopped and resumed keeps those it passed, and one that lost some goes back to before them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from torch import nn

from segcore.nn.resume_files import ResumeFiles, digest_path, fsync, sha256_of, write_durably
from segcore.nn.student_files import write_weights
from segcore.process.jobs import TrainJob, earlier_file


@dataclass(frozen=True)
class EarlierFiles:
    """The weights that a job keeps after some of its iterations."""

    job: TrainJob

    def path(self, index: int) -> Path:
        """Return where the weights of a kept iteration lie while the training goes on."""
        return Path(self.job.resume_dir) / earlier_file(index)

    def save(self, iteration: int, network: nn.Module) -> None:
        """Keep what a network has learnt after one of the iterations of the job's earlier_at, durably."""
        path = self.path(self.job.earlier_at.index(iteration))
        part = path.with_suffix(".part")
        write_weights(part, network, self.job.model)
        fsync(part)
        write_durably(digest_path(path), sha256_of(part))
        part.replace(path)
        fsync(path.parent)

    def require_up_to(self, files: ResumeFiles) -> None:
        """Move aside resume checkpoints past an iteration whose weights are gone or damaged: it is trained again."""
        for index, iteration in enumerate(self.job.earlier_at):
            if not self.whole(index):
                for path in files.newest_first():
                    if files.iteration_of(path) >= iteration:
                        files.move_aside(path, f"the weights after iteration {iteration} are not there as written")
                return

    def whole(self, index: int) -> bool:
        """Return whether the weights of a kept iteration are there as they were written."""
        path = self.path(index)
        expected = digest_path(path)
        return path.is_file() and expected.is_file() and expected.read_text().strip() == sha256_of(path)

    def publish(self, out: Path) -> None:
        """Copy all of them beside the weights of a training that is done."""
        for index in range(len(self.job.earlier_at)):
            shutil.copyfile(self.path(index), out / earlier_file(index))


class EarlierHook(Hook):
    """Keep the weights of some iterations. network: returns what would be published now.

    It runs before the resume checkpoint of the same iteration, which thus implies the weights.
    """

    priority = "LOW"

    def __init__(self, files: EarlierFiles, network: Callable[[], nn.Module]) -> None:
        self.files = files
        self.network = network

    def after_train_iter(self, _runner: Any, batch_idx: int, **_: Any) -> None:
        """Save when due."""
        if batch_idx + 1 in self.files.job.earlier_at:
            self.files.save(batch_idx + 1, self.network())
