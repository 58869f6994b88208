"""The real training program, stopped or killed in the middle: it is resumed and ends in the same weights."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from segcore.process.jobs import TrainJob, write_train_job
from segcore.process.supervisor import descendants
from segcore.process.training import TrainingOptions, run_training

from .conftest import placed


class Attack:
    """Sends a signal to the training program once it is past an iteration; asked at each look for a cancel."""

    def __init__(self, number: signal.Signals, progress: Path, num_lines: int) -> None:
        self.number = number
        self.progress = progress
        self.num_lines = num_lines
        self.pid = 0

    def __call__(self) -> bool:
        if not self.pid and self.progress.exists() and self.progress.read_text().count("\n") >= self.num_lines:
            self.pid = trainer_of(os.getpid())
            os.kill(self.pid, self.number)
        return False


def trainer_of(owner: int) -> int:
    """Return the process id of the training program under an owner's supervisor."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in descendants(owner)}
    return next(pid for pid, text in commands.items() if b"train_process" in text and b"supervisor" not in text)


@pytest.mark.parametrize(
    ("number", "stall_s", "reason"),
    [
        (signal.SIGKILL, 120, "exit code 137"),
        pytest.param(signal.SIGSTOP, 20, "no sign of life", marks=pytest.mark.slow),
    ],
)
def test_a_training_that_is_killed_or_stands_still_goes_on_and_ends_in_equal_bytes(
    trained: Path, tiny_job: TrainJob, tmp_path: Path, number: signal.Signals, stall_s: float, reason: str
) -> None:
    job = placed(tiny_job, tmp_path)
    resume = Path(job.resume_dir)
    resume.mkdir()
    write_train_job(tmp_path / "job.json", job)
    attack = Attack(number, resume / "progress.jsonl", num_lines=5)  # past the checkpoint of iteration 4
    resumed: list[tuple[str, int]] = []
    options = TrainingOptions(
        place="round_00/student", pass_fds=(), grace_s=1, cancelled=attack, stall_s=stall_s, max_resumes=3,
        on_resume=lambda why, iteration: resumed.append((why, iteration)),
    )  # fmt: skip
    run_training(tmp_path / "job.json", job, tmp_path / "run.log", options)
    assert not Path("/proc", str(attack.pid)).exists()
    assert reason in resumed[0][0]
    assert resumed[0][1] >= 4
    assert f"resuming at iteration {resumed[0][1]} of" in (tmp_path / "run.log").read_text()
    assert (tmp_path / "out" / "model.pth").read_bytes() == (trained / "model.pth").read_bytes()
