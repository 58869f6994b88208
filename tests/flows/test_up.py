"""`segloop up` as a person uses it: started, used, stopped by Ctrl-C, by a closed terminal, by SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import temporary_settings

from flows import up
from flows.server import free_port, local_api, running_server
from segcore.errors import StepError
from segcore.process.child import ProcessSpec, SupervisedProcess

PROJECT = Path(__file__).parents[2]


class Up:
    """A running `segloop up`. home: its working directory. url: of its server's API."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.url = local_api(free_port())
        self.env = {
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_API_URL": self.url,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "OMP_NUM_THREADS": "1",
        }
        self.output = home / "up.log"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start it; it stays in the tests' process group, so that it is stopped with them."""
        command = [sys.executable, "-m", "flows.cli", "up"]
        with self.output.open("wb") as output:
            return subprocess.Popen(
                command, cwd=self.home, env={**os.environ, **self.env}, stdout=output, stderr=output
            )

    def wait_until_up(self) -> None:
        """Block until it has said all that it says at the start."""
        wait_for(lambda: "\nlogs " in self.said(), self.said)

    def said(self) -> str:
        """Return what it has printed."""
        return self.output.read_text()

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Return a client of its server, logged in as the profile says."""
        stored = tomllib.loads((self.home / "prefect" / "profiles.toml").read_text())
        auth = stored["profiles"][stored["active"]]["PREFECT_API_AUTH_STRING"]
        with (
            temporary_settings({"api.url": self.url, "api.auth_string": auth}),
            get_client(sync_client=True) as client,
        ):
            yield client

    def left_behind(self) -> list[str]:
        """Return the commands of all processes that live and were started by it."""
        mark = f"PREFECT_HOME={self.env['PREFECT_HOME']}".encode()
        return [command for pid in Path("/proc").glob("[0-9]*") if (command := command_if_marked(pid, mark))]


def command_if_marked(process: Path, mark: bytes) -> str:
    """Return the command of a process with a variable in its environment, "" for others and for zombies."""
    try:
        marked = mark in (process / "environ").read_bytes().split(b"\0")
        return (process / "cmdline").read_text().replace("\0", " ") if marked else ""
    except OSError:
        return ""


def wait_for(happened: Callable[[], bool], told: Callable[[], object], timeout_s: float = 120.0) -> None:
    """Block until something has happened; fail with what there is to tell when that takes too long."""
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, told()
        time.sleep(0.1)


@pytest.fixture
def running(tmp_path: Path, write_tiny: Callable[[Path, str], Path]) -> Iterator[Up]:
    """Start `segloop up` in a folder with a config whose training would take long."""
    path = write_tiny(tmp_path, "tiny")
    config = yaml.safe_load(path.read_text())
    config["train"]["iterations"] = 100_000
    path.write_text(yaml.safe_dump(config))
    started = Up(tmp_path)
    try:
        started.wait_until_up()
        yield started
    finally:
        started.process.kill()
        started.process.wait()


def start_training(running: Up) -> UUID:
    """Start a run of the loop through the API, and block until its trainer is at work; return the flow run's id."""
    with running.client() as client:
        deployment = client.read_deployment_by_name("pseudo-label-loop/local")
        flow_run = client.create_flow_run_from_deployment(deployment.id, parameters={"config": "tiny.yaml"})
    training = running.home / "artifacts" / "tiny" / "round_00"
    wait_for(lambda: bool(list(training.glob("*.resume/iteration_*.pth"))), running.said)
    return flow_run.id


@pytest.mark.server
def test_ctrl_c_saves_the_training_marks_its_run_and_leaves_no_process(running: Up) -> None:
    flow_run_id = start_training(running)
    for _ in range(2):  # the second one by an impatient user
        running.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    assert running.process.wait(timeout=120) == 0, running.said()
    assert running.left_behind() == []
    said = running.said()
    assert "run tiny (tiny): not at work, marked as Crashed" in said
    assert f"prefect flow-run retry {flow_run_id}" in said
    assert "Traceback" not in said
    with (
        running_server(int(running.url.split(":")[2].split("/")[0]), running.output, running.env, PROJECT),
        running.client() as client,
    ):
        assert {run.name: run.state_name for run in client.read_flow_runs()} == {
            "tiny": "Crashed", "tiny round 0": "Crashed"
        }  # fmt: skip


@pytest.mark.server
@pytest.mark.slow
def test_when_it_is_killed_nothing_lives_on(running: Up) -> None:
    start_training(running)
    running.process.kill()
    wait_for(lambda: running.left_behind() == [], running.left_behind)


def test_the_first_signal_is_an_event_and_later_ones_are_answered() -> None:
    said: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    with up.told_to_stop(said.append) as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.wait(1)
        assert said == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert len(said) == 1
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_worker_that_ends_by_itself_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit('no such pool')")
    with (
        SupervisedProcess(ProcessSpec(command, tmp_path / "worker.log")) as worker,
        pytest.raises(StepError, match="no such pool"),
    ):
        up.wait_for_end(worker, threading.Event())


def test_the_commands_to_type_work_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SEGLOOP_ROOTS", raising=False)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    server, worker, *_ = up.commands()
    assert server == f"server  cd {PROJECT} && prefect server start"
    assert f"SEGLOOP_ROOTS='{folder}' prefect worker start --pool segloop --name " in worker
