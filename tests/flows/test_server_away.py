"""Rows 12, 13, 14 and 17 of the fault matrix: the server dies or is away, its database is locked, the power goes."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import temporary_settings
from prefect.states import Cancelling

from flows import bootstrap
from flows.server import answers, free_port, local_api, server_command
from segcore.config.roots import ROOTS
from segcore.errors import CancelledError
from segcore.process.supervisor import descendants
from segcore.store.events import read_events
from segcore.store.lock import lock_holder

from .watching import times_done, wait_until

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(500)]

PROJECT = Path(__file__).parents[2]
TIMEOUT_S = 180


class Server:
    """A server that a test may kill and start again, on the same port and database."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        auth = f"segloop:{secrets.token_urlsafe(16)}"
        self.home = home
        self.env = {
            "PREFECT_HOME": str(home), "PREFECT_API_URL": local_api(self.port), "PREFECT_API_AUTH_STRING": auth,
            "PREFECT_SERVER_API_AUTH_STRING": auth, "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                server_command(self.port), env={**os.environ, **self.env}, cwd=PROJECT, stdout=log, stderr=log
            )
        wait_until(lambda: answers(local_api(self.port)), "an answer of the server")

    def kill(self) -> None:
        """Kill it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def flow_run(self, name: str) -> FlowRun:
        """Return the newest flow run of a name."""
        with self.settings(), get_client(sync_client=True) as client:
            return client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate({"name": {"any_": [name]}}))[0]

    def cancel(self, name: str) -> None:
        """Ask for what the Cancel button asks for."""
        flow_run = self.flow_run(name)
        with self.settings(), get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Cancelling())

    def settings(self) -> Any:
        """Let Prefect in this process use this server for the block."""
        auth = self.env["PREFECT_API_AUTH_STRING"]
        return temporary_settings({"api.url": local_api(self.port), "api.auth_string": auth})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that runs."""
    server = Server(tmp_path_factory.mktemp("prefect home"))
    server.start()
    yield server
    server.kill()


def start(server: Server, config: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start `segloop run`."""
    with config.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", str(config), *options],
            env={**os.environ, **server.env}, stdout=log, stderr=log,
        )  # fmt: skip


def start_worker(server: Server, home: Path) -> subprocess.Popen[bytes]:
    """Start a worker whose flow runs live in home."""
    env = {**os.environ, **server.env, ROOTS: str(home), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", bootstrap.POOL]
    with (home / "worker.log").open("ab") as log:
        return subprocess.Popen(command, env=env, cwd=PROJECT, stdout=log, stderr=log, start_new_session=True)


def progress(folder: Path) -> int:
    """Return how much the training of round 0 has written."""
    return sum(path.stat().st_size for path in folder.glob("round_00/student.*.resume/progress.jsonl"))


def test_cancel_works_after_the_server_was_dead_for_25_s(server: Server, write_tiny: Any, tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "dead"
    process = start(server, write_tiny(tmp_path, "dead"), "--set", "train.iterations=100000")
    wait_until(lambda: progress(folder) > 0, "a training")
    server.kill()
    before = progress(folder)
    time.sleep(25)
    assert progress(folder) > before, "the training stood still while the server was away"
    server.start()
    server.cancel("dead")
    assert process.wait(timeout=TIMEOUT_S) == CancelledError.exit_code
    assert server.flow_run("dead").state_name == "Cancelled"
    assert lock_holder(folder) is None


@pytest.mark.parametrize("how", ["SIGTERM", "CANCEL"])
def test_told_to_end_while_the_server_is_gone_for_good_it_ends_within_minutes(
    server: Server, write_tiny: Any, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "artifacts" / "gone"
    process = start(server, write_tiny(tmp_path, "gone"), "--set", "train.iterations=100000")
    wait_until(lambda: progress(folder) > 0, "a training")
    server.kill()
    try:
        if how == "SIGTERM":
            process.terminate()
        else:
            (folder / "CANCEL").touch()
        assert process.wait(timeout=240) != 0
        assert lock_holder(folder) is None
    finally:
        server.start()


def test_a_step_is_published_while_the_server_is_away_and_not_made_again(
    server: Server, write_tiny: Any, tmp_path: Path
) -> None:
    config = write_tiny(tmp_path, "absent")
    folder = tmp_path / "artifacts" / "absent"
    process = start(server, config)
    wait_until(lambda: progress(folder) > 0, "a training")
    server.kill()
    wait_until(lambda: any(path.is_dir() for path in folder.glob("round_00/student.????????")), "a published student")
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.start()
    wait_until(lambda: lock_holder(folder) is None, "the end of the run's children")
    assert start(server, config).wait(timeout=TIMEOUT_S) == 0
    events = [event for event in read_events(folder) if event.get("place") == "round_00/student"]
    assert [event["event"] for event in events] == ["step_started", "step_done", "step_reused"]


def test_a_run_ends_well_though_the_database_is_locked_for_20_s(
    server: Server, write_tiny: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "artifacts" / "locked"
    process = start(server, write_tiny(tmp_path, "locked"))
    wait_until(lambda: progress(folder) > 0, "a training")
    database = sqlite3.connect(server.home / "prefect.db", isolation_level=None, timeout=60)
    database.execute("BEGIN EXCLUSIVE")
    time.sleep(20)
    database.execute("ROLLBACK")
    database.close()
    assert process.wait(timeout=TIMEOUT_S) == 0
    assert server.flow_run("locked").state_name == "Completed"


def test_after_a_power_cut_doctor_marks_the_run_and_a_retry_goes_on(
    server: Server, write_tiny: Any, tmp_path: Path
) -> None:
    write_tiny(tmp_path, "power")
    folder = tmp_path / "artifacts" / "power"
    with server.settings():
        bootstrap.register(PROJECT, num_gpus=1)
    worker = start_worker(server, tmp_path)
    with server.settings(), get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("pseudo-label-loop/local")
        client.create_flow_run_from_deployment(deployment.id, parameters={"config": "power.yaml"})
    wait_until(lambda: progress(folder) > 0, "a training")
    server.kill()
    kill_all(worker)
    server.start()
    assert server.flow_run("power").state_name == "Running", "nobody could tell the server"
    wait_until(lambda: "it is marked as Crashed now" in doctor(server, tmp_path), "a state old enough to judge by")
    flow_run = server.flow_run("power")
    assert flow_run.state_name == "Crashed"
    worker = start_worker(server, tmp_path)
    try:
        retry = [sys.executable, "-m", "prefect", "flow-run", "retry", str(flow_run.id)]
        subprocess.run(retry, env={**os.environ, **server.env}, cwd=PROJECT, check=True, capture_output=True)
        wait_until(lambda: server.flow_run("power").state_name == "Completed", "the end of the run")
    finally:
        kill_all(worker)
    assert set(times_done(folder).values()) == {1}, "a step was made twice"


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it has started."""
    for pid in (process.pid, *descendants(process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def doctor(server: Server, home: Path) -> str:
    """Return what `segloop doctor` says."""
    command = [sys.executable, "-m", "flows.cli", "doctor", "--artifacts", str(home / "artifacts")]
    return subprocess.run(
        command, env={**os.environ, **server.env}, cwd=home, capture_output=True, text=True, timeout=TIMEOUT_S
    ).stdout
