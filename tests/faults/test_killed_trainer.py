"""Row 2: the real trainer killed while it writes a checkpoint, and the newest whole one cut short besides."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from segcore.store.lock import processes_with

from .conftest import ENVIRONMENT, SOON_S, until

TRAIN = """
import sys
from segcore.steps.index import index_images
from segcore.steps.places import student_place
from segcore.steps.run import open_run
from segcore.steps.train import TrainSpec, train
with open_run(sys.argv[1], sys.argv[2], overrides=["train.iterations=8", "train.checkpoint_every=2"]) as run:
    spec = TrainSpec(run, index_images(run), 0, None, None, student_place(0))
    print(train(spec).checkpoint.digest)
"""


def start(config: Path, run_id: str) -> subprocess.Popen[str]:
    """Start one real training in a run of its own; it prints the digest of its weights."""
    command = (sys.executable, "-c", TRAIN, str(config), run_id)
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def digest_of(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors[-3000:]
    return out.strip()


def trainer_of(run_dir: Path) -> int:
    """Return the process id of the training program of a run."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                arguments = (path / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            job = arguments[3].decode() if len(arguments) > 3 else ""
            if b"segcore.nn.train_process" in arguments[2:3] and job.startswith(str(run_dir)):
                return int(path.name)
    return 0


def stop_while_it_writes(pid: int, part: Path) -> None:
    """Halt a trainer in the middle of writing a checkpoint."""
    end = time.monotonic() + SOON_S * 4
    while not part.exists():
        assert time.monotonic() < end, f"{part.name} was never begun"
        time.sleep(0.0005)
    os.kill(pid, signal.SIGSTOP)
    assert part.exists(), "the checkpoint was finished before the trainer could be stopped"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_trainer_killed_while_it_writes_a_checkpoint_goes_on_from_the_one_before_and_ends_in_equal_weights(
    tmp_path: Path, write_tiny: Callable[[Path, str], Path]
) -> None:
    config = write_tiny(tmp_path, "tiny")
    expected = digest_of(start(config, "undisturbed"))
    owner, run_dir = start(config, "killed"), tmp_path / "artifacts" / "killed"
    trainer = until(lambda: trainer_of(run_dir), "the start of the trainer")
    (resume,) = until(lambda: list(run_dir.glob("round_00/student.*.resume")), "the resume folder")
    stop_while_it_writes(trainer, resume / "iteration_00000006.part")
    owner.send_signal(signal.SIGSTOP)  # so that it does not go on before the disk is as it shall be
    os.kill(trainer, signal.SIGKILL)
    newest = resume / "iteration_00000004.pth"
    os.truncate(newest, newest.stat().st_size // 2)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()  # waits, and closes its pipes
    until(lambda: not processes_with(run_dir / "LOCK"), "the end of all processes of the run")

    assert digest_of(start(config, "killed")) == expected
    log = next((run_dir / "logs" / "round_00").glob("student.*.log")).read_text()
    assert "moved to quarantine, an older one is used" in log
    assert "resume checkpoint iteration_00000004.pth: its sha256 is not the one written beside it" in log
    assert re.findall(r"resuming at iteration (\d+)", log) == ["2"]
