"""Row 10: however `segloop run` is ended, none of its processes stays: trainer, labeller, its own Prefect server.

That processes with sessions of their own and those that ignore SIGTERM are found too is tested with processes made for
it in tests/segcore/process/test_child.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from segcore.store.events import read_events

from .conftest import ENVIRONMENT, until

MARK = "SEGLOOP_TEST_OWNER"  # a variable that all descendants inherit
STARTUP_S, GRACE_S = 120.0, 60.0  # of a loaded machine; runtime.grace_s is 20 here

SERVER = """
import sys, time
from pathlib import Path
from flows.embedded import prefect_server
with prefect_server(Path(sys.argv[1])):
    Path(sys.argv[1]).with_name("up").touch()
    time.sleep(600)
"""


def start(command: tuple[str, ...], folder: Path, mark: str) -> subprocess.Popen[bytes]:
    """Start a program with a Prefect home of its own and its processes marked."""
    environment = {**ENVIRONMENT, "PREFECT_HOME": str(folder / "prefect"), MARK: mark}
    environment.pop("PREFECT_API_URL", None)
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *command], stdout=log, stderr=log, env=environment, preexec_fn=heed_interrupts
        )


def heed_interrupts() -> None:
    """Undo what a shell does to what it starts in the background, these tests included: ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def marked(mark: str) -> dict[int, str]:
    """Return process id and command of all living processes that carry a mark."""
    found = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return {pid: command for pid, command in found.items() if command}


def end_all(mark: str) -> None:
    """Leave nothing of a failed test."""
    for pid in marked(mark):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.server
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_embedded_prefect_server_ends_with_its_owner(tmp_path: Path, how: signal.Signals) -> None:
    mark = f"server-{os.getpid()}-{how.name}"
    owner = start(("-c", SERVER, str(tmp_path / "server.log")), tmp_path, mark)
    try:
        until((tmp_path / "up").exists, "the server", STARTUP_S)
        assert any("uvicorn" in command for command in marked(mark).values())
        owner.send_signal(how)
        owner.wait(GRACE_S)
        until(lambda: not marked(mark), "the end of the server", GRACE_S)
    finally:
        end_all(mark)


def begun(run_dir: Path, kind: str, num_before: int) -> Callable[[], bool]:
    """Return whether a step of a kind has begun since."""

    def check() -> bool:
        new = list(read_events(run_dir))[num_before:]
        return any(event["event"] == "step_started" and event["kind"] == kind for event in new)

    return check


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(900)
def test_nothing_of_a_real_run_survives_whether_it_trains_scores_or_labels(
    tmp_path: Path, write_tiny: Callable[[Path, str], Path]
) -> None:
    config, run_dir = write_tiny(tmp_path, "tiny"), tmp_path / "artifacts" / "tiny"
    ends = [("train", "train_process", signal.SIGKILL), ("evaluate", "predict_process", signal.SIGINT),
            ("label", "predict_process", signal.SIGTERM), ("train", "train_process", signal.SIGINT)]  # fmt: skip
    for kind, program, how in ends:
        mark = f"{kind}-{os.getpid()}-{how.name}"
        owner = start(("-m", "flows.cli", "run", str(config)), tmp_path, mark)
        try:
            until(begun(run_dir, kind, len(list(read_events(run_dir)))), f"the step {kind}", STARTUP_S)
            until(lambda mark=mark, program=program: any(program in c for c in marked(mark).values()), program)
            assert any("uvicorn" in command for command in marked(mark).values())
            owner.send_signal(how)
            owner.wait(GRACE_S)
            until(lambda mark=mark: not marked(mark), f"the end of all processes after {how.name}", GRACE_S)
        finally:
            end_all(mark)
