"""Row 8: a second start of a run that somebody works on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from segcore.errors import RunLockedError
from segcore.store.verify import verify_run

from .conftest import ENVIRONMENT, HERE, STUB_LOOP, until
from .stub_loop import SMALL, walk


@pytest.fixture
def halted(few_images: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that was stopped in the middle of the loop and still holds the run."""
    process = subprocess.Popen([*STUB_LOOP, str(few_images)], env=ENVIRONMENT)
    until(lambda: list(few_images.parent.glob("artifacts/tiny/round_01/labels/*")), "the labels of round 1")
    process.send_signal(signal.SIGSTOP)
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


def files(run_dir: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}


def test_the_second_of_two_loops_ends_within_a_second_naming_the_first_which_ends_unharmed(
    few_images: Path, halted: subprocess.Popen[bytes], stub_programs: None
) -> None:
    run_dir = few_images.parent / "artifacts" / "tiny"
    before, began = files(run_dir), time.monotonic()
    with pytest.raises(RunLockedError, match=f"held by pid {halted.pid} "):
        walk(few_images, SMALL)
    assert time.monotonic() - began < 1
    assert files(run_dir) == before
    halted.send_signal(signal.SIGCONT)
    assert halted.wait(60) == 0
    assert len(list(run_dir.glob("round_??/round.json"))) == 3
    assert verify_run(run_dir).whole


def test_the_command_line_tells_it_before_prefect_is_started(few_images: Path, halted: subprocess.Popen[bytes]) -> None:
    overrides = [part for override in SMALL for part in ("--set", override)]
    command = [sys.executable, "-X", "importtime", "-m", "flows.cli", "run", str(few_images), *overrides]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parents[1])
    assert done.returncode == RunLockedError.exit_code
    assert f"held by pid {halted.pid} " in done.stderr
    assert "| prefect" not in done.stderr
    assert json.loads((few_images.parent / "artifacts" / "tiny" / "LOCK").read_text())["pid"] == halted.pid
