"""What `segloop setup` leaves on a server, and what that server and its worker refuse."""

from __future__ import annotations

import operator
import os
import stat
import subprocess
import sys
import threading
import tomllib
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import Settings, temporary_settings
from prefect.workers.process import ProcessWorker

import flows
from flows import automations, bootstrap, connection, home
from flows.server import answers, free_port, local_api
from segcore.config.roots import ROOTS
from segcore.errors import ConfigError, StepError

PROJECT = Path(__file__).parents[2]
server = pytest.mark.server

DEPLOYMENTS = {
    "pseudo-label-loop/local",
    "pseudo-label-loop/gpu",
    "predict/local",
    "evaluate/local",
    "cross-validate/local",
    "make-submission/local",
    "mark-crashed/local",
}


def run_setup(env: Mapping[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `segloop setup` as a user would."""
    command = [sys.executable, "-m", "flows.cli", "setup", *arguments]
    return subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=200)


@server
def test_every_deployment_is_there_and_lives_in_the_pool(prefect_api):
    with prefect_api.client() as client:
        by_id = {flow.id: flow.name for flow in client.read_flows()}
        found = {f"{by_id[item.flow_id]}/{item.name}": item for item in client.read_deployments()}
    assert set(found) == DEPLOYMENTS
    assert {item.work_pool_name for item in found.values()} == {"segloop"}
    assert found["pseudo-label-loop/gpu"].work_queue_name == "gpu"
    assert found["pseudo-label-loop/gpu"].parameters == {"overrides": ["runtime.device=cuda"]}
    assert {item.work_queue_name for name, item in found.items() if not name.endswith("/gpu")} == {"default"}


@server
def test_the_run_form_explains_every_deployment_and_every_parameter(prefect_api):
    with prefect_api.client() as client:
        for deployment in client.read_deployments():
            assert deployment.description
            for name, schema in deployment.parameter_openapi_schema["properties"].items():
                assert schema.get("description"), f"{deployment.entrypoint}: {name} has no description"


@server
def test_no_path_of_this_machine_is_baked_into_a_deployment(prefect_api):
    with prefect_api.client() as client:
        for deployment in client.read_deployments():
            assert str(PROJECT) not in deployment.model_dump_json()
            assert deployment.pull_steps == [{"flows.home.enter_home": {}}]


@server
def test_the_gpu_limit_is_set_changed_and_kept(prefect_api):
    with prefect_api.client() as client:
        assert bootstrap.ensure_gpu_queue(client, 3) == "queue gpu: was there, 3 at a time now instead of 1"
        assert bootstrap.ensure_gpu_queue(client, None) == "queue gpu: was there, 3 at a time"
        assert client.read_work_queue_by_name("gpu", work_pool_name="segloop").concurrency_limit == 3
        bootstrap.ensure_gpu_queue(client, 1)


@server
def test_a_pool_with_another_job_template_gets_ours_back(prefect_api):
    dangerous = ProcessWorker.get_default_base_job_template()
    assert "command" in dangerous["variables"]["properties"]
    with prefect_api.client() as client:
        client.update_work_pool(bootstrap.POOL, WorkPoolUpdate(base_job_template=dangerous))
        assert bootstrap.ensure_pool(client).endswith("corrected")
        assert client.read_work_pool(bootstrap.POOL).base_job_template == bootstrap.JOB_TEMPLATE
        assert bootstrap.ensure_pool(client).endswith("was there")


def state_of(client: SyncPrefectClient) -> dict[str, Any]:
    """Return all that setup makes, by name, without times."""
    pool = client.read_work_pool(bootstrap.POOL)
    queues = client.read_work_queues(work_pool_name=bootstrap.POOL)
    return {
        "pool": (pool.id, pool.type, pool.base_job_template),
        "queues": {queue.name: (queue.id, queue.concurrency_limit) for queue in queues},
        "deployments": {
            (item.id, item.name, item.entrypoint, item.description, item.work_queue_name, str(item.parameters))
            for item in client.read_deployments()
        },
        "automations": {(item.id, item.name, item.model_dump_json()) for item in client.read_automations()},
    }


@server
def test_setup_can_be_repeated_and_leaves_everything_as_it_is(prefect_api, prefect_place):
    first = run_setup(prefect_api.env, prefect_place.home, "--automations")
    assert first.returncode == 0, first.stdout + first.stderr
    with prefect_api.client() as client:
        before = state_of(client)
        second = run_setup(prefect_api.env, prefect_place.home, "--automations")
        assert second.returncode == 0, second.stdout + second.stderr
        assert state_of(client) == before
        for automation in client.read_automations_by_name(automations.SILENT_NAME):
            client.delete_automation(automation.id)  # other tests have silent runs of their own
    assert len(before["automations"]) == 1
    lines = second.stdout.splitlines()
    assert f"server {prefect_api.url}: answers" in lines
    assert "work pool segloop: was there" in lines
    assert "queue gpu: was there, 1 at a time" in lines
    assert f"automation {automations.SILENT_NAME!r}: was there" in lines
    assert {f"deployment {name}: registered again" for name in DEPLOYMENTS} <= set(lines)


@server
def test_the_first_setup_starts_a_server_for_the_moment_and_keeps_the_secret_to_itself(tmp_path):
    env = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": local_api(free_port())}
    done = run_setup(env, tmp_path, "--gpus", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    profiles = tmp_path / "prefect" / "profiles.toml"
    stored = tomllib.loads(profiles.read_text())
    profile = stored["profiles"][stored["active"]]
    auth = profile["PREFECT_API_AUTH_STRING"]
    assert auth.startswith("segloop:")
    assert profile["PREFECT_SERVER_API_AUTH_STRING"] == auth
    assert stat.S_IMODE(profiles.stat().st_mode) == 0o600
    assert auth.removeprefix("segloop:") not in done.stdout + done.stderr
    assert "queue gpu: made, 2 at a time" in done.stdout
    for words in (f"UI      {env['PREFECT_API_URL'].removesuffix('/api')}", str(profiles), f"{ROOTS}={tmp_path} "):
        assert words in done.stdout
    assert not answers(env["PREFECT_API_URL"])


@server
def test_a_server_with_another_auth_string_is_an_error_that_says_what_to_set(prefect_api, prefect_place):
    env = {**prefect_api.env, "PREFECT_API_AUTH_STRING": "segloop:another"}
    done = run_setup(env, prefect_place.home)
    assert done.returncode == 2
    assert "error: PREFECT_API_AUTH_STRING must be the auth string" in done.stderr
    assert "Traceback" not in done.stderr


@server
def test_deployments_that_do_not_register_show_all_that_prefect_said(prefect_api, tmp_path):
    (tmp_path / "prefect.yaml").write_text("deployments: [{name: a, entrypoint: flows.nowhere.flow}]")
    with prefect_api.settings(), pytest.raises(StepError, match="nowhere"):
        bootstrap.deploy_all(tmp_path)


class AnybodyMayIn(BaseHTTPRequestHandler):
    """Answers every request, as a Prefect server without auth string does."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_a_server_that_lets_anybody_in_is_warned_of():
    with HTTPServer(("127.0.0.1", 0), AnybodyMayIn) as open_server:
        thread = threading.Thread(target=open_server.serve_forever, daemon=True)
        thread.start()
        with temporary_settings({"api.url": local_api(open_server.server_port)}):
            (line,) = connection.access_lines()
        open_server.shutdown()
        thread.join()
    assert line.startswith("warning: ")
    assert "lets anybody in" in line


def test_a_server_elsewhere_that_does_not_answer_is_an_error_and_changes_no_profile(tmp_path):
    updates = {"api.url": "http://localhost.localdomain.invalid:4200/api", "profiles_path": tmp_path / "profiles.toml"}
    with (
        temporary_settings(updates),
        pytest.raises(ConfigError, match="no server answers there"),
        connection.connected(),
    ):
        pass
    assert not (tmp_path / "profiles.toml").exists()


def test_the_auth_string_of_one_side_is_that_of_the_other():
    unset = {"api.url": None, "api.auth_string": None, "server.api.auth_string": None}
    with temporary_settings(unset | {"server.api.auth_string": "segloop:x"}):
        assert connection.missing_settings() == {
            connection.API_URL: connection.LOCAL_API, connection.CLIENT_AUTH: "segloop:x"
        }  # fmt: skip
    with temporary_settings(unset):
        new = connection.missing_settings()
    assert new[connection.CLIENT_AUTH] == new[connection.SERVER_AUTH]
    assert len(new[connection.CLIENT_AUTH]) >= 32


def test_prefect_yaml_is_looked_for_here_then_beside_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bootstrap.project_folder() == PROJECT
    (tmp_path / "prefect.yaml").touch()
    assert bootstrap.project_folder() == tmp_path
    (tmp_path / "prefect.yaml").unlink()
    monkeypatch.setattr(flows, "__file__", str(tmp_path / "site" / "flows" / "__init__.py"))
    with pytest.raises(ConfigError, match=r"prefect\.yaml must be in the current folder"):
        bootstrap.project_folder()


def test_every_deployed_flow_takes_what_the_run_form_sends(monkeypatch):
    monkeypatch.chdir(PROJECT)
    asked = {
        "pseudo-label-loop": {"config": "a.yaml", "overrides": ["train.lr=0.1"]},
        "cross-validate": {"config": "a.yaml", "num_folds": 3, "overrides": ["train.lr=0.1"]},
        "predict": {"images": "a", "out": "b", "formats": ["png"], "checkpoints": ["c"], "weights": [1], "views": [64]},
        "evaluate": {"annotations": "a.json", "images": "b", "trained_on": ["c"], "views": None},
        "make-submission": {"run": "a", "out": "b.csv", "size": [32, 64]},
        "mark-crashed": {"flow_run_id": "a"},
    }
    entrypoints = {item["entrypoint"] for item in yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]}
    deployed = [load_flow_from_entrypoint(entrypoint) for entrypoint in entrypoints]
    assert {flow.name for flow in deployed} == set(asked)
    for flow in deployed:
        taken = flow.validate_parameters(asked[flow.name])
        assert set(asked[flow.name]) <= set(taken)


def settings_in(table: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Return the settings of a TOML table by dotted name."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= settings_in(value, f"{name}{key}.") if isinstance(value, dict) else {f"{name}{key}": value}
    return found


def test_prefect_takes_every_line_of_prefect_toml(monkeypatch):
    written = settings_in(tomllib.loads((PROJECT / "prefect.toml").read_text()))
    assert len(written) >= 10
    for name in os.environ:
        if name.startswith("PREFECT_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(PROJECT)  # Prefect reads the file of the current folder, and ignores a wrong key
    settings = Settings()
    for name, value in written.items():
        effective = operator.attrgetter(name)(settings)
        assert effective == ([value] if name == "logging.extra_loggers" else value), name


def test_the_watched_silence_is_longer_than_two_heartbeats(monkeypatch):
    every_s = tomllib.loads((PROJECT / "prefect.toml").read_text())["flows"]["heartbeat_frequency"]
    assert automations.SILENCE.total_seconds() >= 2.5 * every_s


def test_a_worker_without_roots_says_how_to_start_it(monkeypatch):
    monkeypatch.delenv(ROOTS, raising=False)
    with pytest.raises(ConfigError, match=f"{ROOTS} must be set where the worker is started"):
        home.enter_home()


def test_a_run_lives_in_the_first_root(monkeypatch, tmp_path):
    (tmp_path / "more").mkdir()
    monkeypatch.chdir(tmp_path / "more")
    monkeypatch.setenv(ROOTS, f"{tmp_path}{os.pathsep}{tmp_path / 'more'}")
    assert home.enter_home() == {"directory": str(tmp_path)}
    assert Path.cwd() == tmp_path


def test_a_run_that_a_person_starts_may_name_any_file(monkeypatch):
    monkeypatch.setenv(ROOTS, "/nowhere")
    assert home.api_roots() is None
    home.refuse_outside_roots(images="/etc")
