"""Run the training program as a supervised child, and pass its progress on."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from segcore.errors import StepError
from segcore.process.child import ProcessSpec, SupervisedProcess
from segcore.process.jobs import TrainJob

logger = logging.getLogger(__name__)

PROGRESS = "progress.jsonl"


def run_import(job_path: Path, log_path: Path, options: tuple[tuple[int, ...], float, Callable[[], bool]]) -> None:
    """Run the import program to its end; options as in run_training. StepError with its last lines when it fails."""
    pass_fds, grace_s, cancelled = options
    command = (sys.executable, "-m", "segcore.nn.import_process", str(job_path))
    with SupervisedProcess(ProcessSpec(command, log_path, pass_fds, grace_s)) as child:
        child.wait(cancelled=cancelled)


def run_training(
    job_path: Path, job: TrainJob, log_path: Path, options: tuple[tuple[int, ...], float, Callable[[], bool]]
) -> None:
    """Train to the end; log iteration, loss and ETA as the program reports them.

    options: inherited descriptors, grace time in seconds, cancel check. StepError when the program fails,
    CancelledError when it was told to stop; its checkpoints stay in job.resume_dir.
    """
    pass_fds, grace_s, cancelled = options
    command = (sys.executable, "-m", "segcore.nn.train_process", str(job_path))
    progress = ProgressFile(Path(job.resume_dir) / PROGRESS)
    progress.skip_old()
    with SupervisedProcess(ProcessSpec(command, log_path, pass_fds, grace_s)) as child:
        child.wait(on_tick=lambda: log_progress(progress), tick_s=0.5, cancelled=cancelled)
    log_progress(progress)
    if not (Path(job.out_dir) / "model.pth").exists():
        raise StepError(f"the training program ended well but left no model.pth in {job.out_dir}; see {log_path}")


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


def log_progress(progress: ProgressFile) -> None:
    """Log what is new as one line each."""
    for line in progress.new_lines():
        minutes, seconds = divmod(round(line.get("eta_s") or 0), 60)
        logger.info(
            "  iteration %d/%d  loss %.4f  lr %.1e  ETA %d:%02d",
            line["iteration"], line["num_iterations"], line["loss"], line["lr"], minutes, seconds,
        )  # fmt: skip
