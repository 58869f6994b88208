"""Run the training program as a supervised child, and pass its progress on."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcore.errors import CancelledError, StepError
from segcore.process.child import ProcessSpec, SupervisedProcess
from segcore.process.jobs import TrainJob
from segcore.process.training_news import TrainingNews
from segcore.process.watchdog import Resumes, StalledError, StallWatch, was_killed

logger = logging.getLogger(__name__)

PROGRESS = "progress.jsonl"


@dataclass(frozen=True)
class TrainingOptions:
    """How to run a training program; see ProcessSpec for pass_fds and grace_s.

    place: the step it is run for, as people are told of it. stall_s: seconds without a sign of life after which it is
    ended and resumed. max_resumes: how often it is resumed without getting to a newer checkpoint. on_resume: told why,
    and from which iteration, before each time.
    """

    place: str
    pass_fds: tuple[int, ...]
    grace_s: float
    cancelled: Callable[[], bool]
    stall_s: float
    max_resumes: int
    on_resume: Callable[[str, int], None]


def run_import(job_path: Path, log_path: Path, options: TrainingOptions) -> None:
    """Run the import program to its end. StepError with its last lines when it fails or stands still."""
    command = (sys.executable, "-m", "segcore.nn.import_process", str(job_path))
    watch = StallWatch(options.stall_s, (log_path,))
    with SupervisedProcess(ProcessSpec(command, log_path, options.pass_fds, options.grace_s)) as child:
        child.wait(on_tick=watch.check, cancelled=options.cancelled)


def run_training(job_path: Path, job: TrainJob, log_path: Path, options: TrainingOptions) -> None:
    """Train to the end, resuming a training that stands still or was killed; log its progress.

    StepError when the program fails or gets nowhere any more, CancelledError when it was told to stop; its checkpoints
    stay in job.resume_dir.
    """
    resumes = Resumes(Path(job.resume_dir), options.max_resumes)
    while (failure := attempt(job_path, job, log_path, options)) is not None:
        iteration = resumes.allow(failure)
        logger.warning("training is resumed from iteration %d: %s", iteration, failure)
        options.on_resume(str(failure), iteration)
    if not (Path(job.out_dir) / "model.pth").exists():
        raise StepError(f"the training program ended well but left no model.pth in {job.out_dir}; see {log_path}")


def attempt(job_path: Path, job: TrainJob, log_path: Path, options: TrainingOptions) -> StepError | None:
    """Run the training program once; return None when it came to its end, else why it may be started again.

    Failures that would come again are raised.
    """
    progress = ProgressFile(Path(job.resume_dir) / PROGRESS)
    progress.skip_old()
    watch = StallWatch(options.stall_s, (Path(job.resume_dir), log_path))
    news = TrainingNews(options.place)

    def tell_new() -> None:
        for line in progress.new_lines():
            news.tell(line)

    def tick() -> None:
        tell_new()
        watch.check()

    with SupervisedProcess(ProcessSpec(train_command(job_path), log_path, options.pass_fds, options.grace_s)) as child:
        try:
            child.wait(on_tick=tick, tick_s=0.5, cancelled=options.cancelled)
        except StalledError as error:
            return error
        except StepError as error:
            if isinstance(error, CancelledError) or not was_killed(child.returncode):
                raise
            return error
    tell_new()
    return None


def train_command(job_path: Path) -> tuple[str, ...]:
    """Return the command of the training program."""
    return (sys.executable, "-m", "segcore.nn.train_process", str(job_path))


class ProgressFile:
    """The JSON lines a training appends to; lines are handed out once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0

    def skip_old(self) -> None:
        """Leave out what an earlier attempt wrote."""
        self.position = self.path.stat().st_size if self.path.exists() else 0

    def new_lines(self) -> Iterator[dict[str, Any]]:
        """Yield whole new lines; a half-written one waits for the next call."""
        try:
            with self.path.open("rb") as file:
                # a resumed training first drops its lines past the checkpoint
                self.position = min(self.position, os.fstat(file.fileno()).st_size)
                file.seek(self.position)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self.position += len(whole)
        for line in whole.splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and "iteration" in record:
                yield record
