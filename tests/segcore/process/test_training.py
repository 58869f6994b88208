"""Real child processes in place of the training program: they hang, are killed, fail or end, attempt by attempt."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from pathlib import Path

import pytest

from segcore.errors import CancelledError, StepError
from segcore.process import training
from segcore.process.training import ProgressFile, TrainingOptions, run_training

from .test_jobs import TRAIN

# sys.argv: resume folder, out folder, what to do in each attempt (the last one from then on)
TRAINER = """
import json, os, signal, sys, time
from pathlib import Path
resume, out, attempts = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
number = len(list(resume.parent.glob("attempt_*")))
(resume.parent / f"attempt_{number}").write_text(str(os.getpid()))
for what in attempts[min(number, len(attempts) - 1)].split("+"):
    if what == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.setsid()
            (resume.parent / f"grandchild_{number}").write_text(str(os.getpid()))
        time.sleep(600)
    elif what == "save":
        iteration = 10 * (number + 1)
        (resume / f"iteration_{iteration:08d}.pth").write_text("")
    elif what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "fail":
        sys.exit("ValueError: it would come again")
    elif what == "end":
        (out / "model.pth").write_text("weights")
"""


@pytest.fixture
def attempts(tmp_path, monkeypatch):
    """Return a function that trains with a list of attempts and returns the resumes it was told of."""
    resume, out = tmp_path / "resume", tmp_path / "out"
    resume.mkdir()
    out.mkdir()
    job = dataclasses.replace(TRAIN, resume_dir=str(resume), out_dir=str(out))
    resumed: list[tuple[str, int]] = []

    def run(*what: str, stall_s: float = 60, max_resumes: int = 3, cancelled=lambda: False):
        command = (sys.executable, "-c", TRAINER, str(resume), str(out), *what)
        monkeypatch.setattr(training, "train_command", lambda job_path: command)
        options = TrainingOptions(
            place="round_00/student", pass_fds=(), grace_s=0.2, cancelled=cancelled, stall_s=stall_s,
            max_resumes=max_resumes, on_resume=lambda reason, iteration: resumed.append((reason, iteration)),
        )  # fmt: skip
        run_training(tmp_path / "job.json", job, tmp_path / "run.log", options)
        return resumed

    run.resumed = resumed
    return run


def alive(tmp_path: Path, pattern: str) -> list[str]:
    return [path.name for path in tmp_path.glob(pattern) if Path("/proc", path.read_text()).exists()]


def test_a_hanging_training_is_ended_with_its_whole_tree_and_resumed_from_its_checkpoint(tmp_path, attempts, caplog):
    with caplog.at_level(logging.WARNING):
        resumed = attempts("save+hang", "end", stall_s=2)
    ((reason, iteration),) = resumed
    assert iteration == 10
    assert reason.startswith("no sign of life for 0.0333 min")
    assert str(tmp_path / "run.log") in reason
    assert "resumed from iteration 10" in caplog.text
    assert alive(tmp_path, "attempt_*") == alive(tmp_path, "grandchild_*") == []
    assert len(list(tmp_path.glob("grandchild_*"))) == 1


def test_a_training_that_always_hangs_ends_the_step_with_where_how_long_and_what_to_do(tmp_path, attempts):
    with pytest.raises(
        StepError, match=r"(?s)did not in 1 resumes.*no sign of life.*run\.log.*start the run again"
    ) as caught:
        attempts("hang", stall_s=1, max_resumes=1)
    assert not isinstance(caught.value, CancelledError)
    assert len(attempts.resumed) == 1
    assert alive(tmp_path, "attempt_*") == []


def test_a_killed_training_is_resumed_for_as_long_as_it_gets_further(tmp_path, attempts):
    with pytest.raises(StepError, match=r"(?s)iteration 30, and did not in 2 resumes.*exit code 137 \(SIGKILL"):
        attempts("save+kill", "save+kill", "save+kill", "kill", max_resumes=2)
    assert [iteration for _, iteration in attempts.resumed] == [10, 20, 30, 30]
    assert len(list(tmp_path.glob("attempt_*"))) == 5


def test_a_training_killed_once_ends_well(attempts):
    assert [iteration for _, iteration in attempts("kill", "end")] == [0]


def test_an_ordinary_error_is_not_tried_again(tmp_path, attempts):
    with pytest.raises(StepError, match=r"(?s)exit code 1\..*it would come again"):
        attempts("save+fail", "end")
    assert attempts.resumed == []
    assert len(list(tmp_path.glob("attempt_*"))) == 1


def test_a_training_without_weights_at_its_end_is_a_step_error(attempts):
    with pytest.raises(StepError, match=r"left no model\.pth"):
        attempts("save")


def test_cancelling_wins_over_resuming(tmp_path, attempts):
    with pytest.raises(CancelledError):
        attempts("hang", cancelled=lambda: bool(list(tmp_path.glob("attempt_*"))))
    assert attempts.resumed == []


def test_progress_lines_are_handed_out_once_also_after_a_resumed_training_dropped_some(tmp_path):
    progress = ProgressFile(tmp_path / "progress.jsonl")

    def write(*iterations: int, torn: str = "") -> None:
        progress.path.write_text("".join(json.dumps({"iteration": n}) + "\n" for n in iterations) + torn)

    def new() -> list[int]:
        return [line["iteration"] for line in progress.new_lines()]

    assert new() == []
    write(1, 2, torn='{"iterat')
    assert new() == [1, 2]
    write(1, 2, 3)
    assert new() == [3]
    write(1)
    assert new() == []
    write(1, 2)
    assert new() == [2]


def test_lines_of_an_earlier_attempt_are_left_out(tmp_path):
    progress = ProgressFile(tmp_path / "progress.jsonl")
    progress.path.write_text('{"iteration": 1}\n')
    progress.skip_old()
    assert list(progress.new_lines()) == []
