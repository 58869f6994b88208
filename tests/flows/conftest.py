"""A Prefect server and a worker for tests, set up as `segloop setup` does it: one of each for the whole session."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import temporary_settings

from flows import bootstrap
from flows.server import free_port, local_api, running_server
from segcore.config.roots import ROOTS
from segcore.process.child import ProcessSpec, SupervisedProcess

PROJECT = Path(__file__).parents[2]  # where prefect.yaml and prefect.toml lie


@dataclass(frozen=True)
class PrefectPlace:
    """Folders for a session. home: where flow runs live, with tiny.yaml, its data and later artifacts/."""

    home: Path
    prefect_home: Path
    config: Path

    @property
    def logs(self) -> Path:
        """Return the folder of the logs of server and worker."""
        return self.home.parent


@dataclass(frozen=True)
class PrefectApi:
    """A server that answers. url: of its API. env: variables that child processes need to use it."""

    url: str
    env: Mapping[str, str] = field(repr=False)

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Let Prefect in this process use this server for the block."""
        auth = self.env["PREFECT_API_AUTH_STRING"]
        with temporary_settings({"api.url": self.url, "api.auth_string": auth, "client.csrf_support_enabled": True}):
            yield

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Return a client of this server."""
        with self.settings(), get_client(sync_client=True) as client:
            yield client

    def start(self, deployment: str, parameters: Mapping[str, Any]) -> UUID:
        """Ask for a run of a deployment, as the UI does; return the flow run's id."""
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=dict(parameters)).id

    def wait_for(self, flow_run_id: UUID, wanted: Callable[[FlowRun], bool], timeout_s: float = 120.0) -> FlowRun:
        """Return the flow run once it is as wanted; fail with its state when that takes too long."""
        end = time.monotonic() + timeout_s
        with self.client() as client:
            while not wanted(run := client.read_flow_run(flow_run_id)):
                assert time.monotonic() < end, f"{run.name} is still {run.state_name} after {timeout_s:g} s"
                time.sleep(0.2)
        return run

    def run_to_its_end(self, deployment: str, parameters: Mapping[str, Any], timeout_s: float = 120.0) -> FlowRun:
        """Run a deployment; return the flow run in its final state. A worker must be there (prefect_worker)."""
        return self.wait_for(self.start(deployment, parameters), has_ended, timeout_s)


def has_ended(run: FlowRun) -> bool:
    """Return whether a flow run is in a final state."""
    return run.state is not None and run.state.is_final()


@pytest.fixture(scope="session")
def prefect_place(tmp_path_factory: pytest.TempPathFactory, write_tiny: Callable[[Path, str], Path]) -> PrefectPlace:
    """Return the folders of this session's server and worker."""
    root = tmp_path_factory.mktemp("prefect")
    (root / "home").mkdir()
    return PrefectPlace(root / "home", root / "prefect-home", write_tiny(root / "home", "tiny"))


@pytest.fixture(scope="session")
def prefect_api(prefect_place: PrefectPlace) -> Iterator[PrefectApi]:
    """Run a server with auth and CSRF protection, and register pool and deployments."""
    port = free_port()
    auth = f"segloop:{secrets.token_urlsafe(16)}"
    env = {
        "PREFECT_HOME": str(prefect_place.prefect_home),
        "PREFECT_API_URL": local_api(port),
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "OMP_NUM_THREADS": "1",
        ROOTS: str(prefect_place.home),
    }
    with running_server(port, prefect_place.logs / "server.log", env, cwd=PROJECT):
        api = PrefectApi(local_api(port), env)
        with api.settings():
            bootstrap.register(PROJECT, num_gpus=1)
        yield api


@pytest.fixture(scope="session")
def prefect_worker(prefect_api: PrefectApi, prefect_place: PrefectPlace) -> Iterator[SupervisedProcess]:
    """Run a worker that looks for work every second."""
    env = {**prefect_api.env, "PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_PREFETCH_SECONDS": "1"}
    command = (sys.executable, "-m", "prefect", "worker", "start", "--pool", bootstrap.POOL, "--name", "test")
    spec = ProcessSpec(command, prefect_place.logs / "worker.log", grace_s=20.0, env=env, cwd=PROJECT)
    with SupervisedProcess(spec) as worker:
        yield worker


def pytest_configure() -> None:
    """Keep what this process's Prefect prints and sends to a minimum."""
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
