"""What a server that `segloop setup` left, and its worker, refuse."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import Any

import pytest
from prefect.exceptions import PrefectHTTPStatusError

from flows import bootstrap
from segcore.config.roots import ROOTS

pytestmark = pytest.mark.server


def request(
    url: str, body: Any = None, headers: Mapping[str, str] | None = None, method: str | None = None
) -> tuple[int, Message]:
    """Send a request with nothing but what is given; return status and headers."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=20) as reply:
            return reply.status, reply.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def basic(auth: str) -> dict[str, str]:
    """Return the header that logs in with an auth string."""
    return {"Authorization": f"Basic {base64.b64encode(auth.encode()).decode()}"}


@pytest.mark.parametrize(
    "job_variables", [{"command": "touch taken-over"}, {"env": {ROOTS: "/"}}, {"working_dir": "/tmp"}, {"name": "x"}]
)
def test_a_run_with_a_command_environment_or_folder_is_refused(prefect_api, job_variables):
    with prefect_api.client() as client:
        deployment = client.read_deployment_by_name("predict/local")
        parameters = {"images": "data", "out": "out", "run": "x"}
        with pytest.raises(PrefectHTTPStatusError, match=f"422(?s:.)*{next(iter(job_variables))}"):
            client.create_flow_run_from_deployment(deployment.id, parameters=parameters, job_variables=job_variables)


def test_a_command_that_somebody_stores_with_a_deployment_only_makes_its_runs_be_refused(prefect_api):
    with prefect_api.client() as client:  # Prefect looks at job variables when a run is made, not here
        deployment = client.read_deployment_by_name("make-submission/local")
        client.request(
            "PATCH", f"/deployments/{deployment.id}", json={"job_variables": {"command": "touch taken-over"}}
        )
        try:
            with pytest.raises(PrefectHTTPStatusError, match="'command' was unexpected"):
                prefect_api.start("make-submission/local", {"run": "nowhere", "out": "out.csv"})
        finally:
            client.request("PATCH", f"/deployments/{deployment.id}", json={"job_variables": {}})


def test_a_command_that_the_server_lets_through_has_no_effect(prefect_api, prefect_worker, prefect_place):
    command = f"touch {prefect_place.home}/taken-over"
    with prefect_api.client() as client:  # this route of the API does not look at job variables
        deployment = client.read_deployment_by_name("make-submission/local")
        body = {
            "flow_id": str(deployment.flow_id),
            "deployment_id": str(deployment.id),
            "work_pool_name": bootstrap.POOL,
            "work_queue_name": "default",
            "parameters": {"run": "nowhere", "out": "out.csv"},
            "job_variables": {"command": command, "working_dir": "/", "env": {ROOTS: "/"}},
            "state": {"type": "SCHEDULED"},
        }
        made = client.request("POST", "/flow_runs/", json=body)
    assert made.json()["job_variables"]["command"] == command
    run = prefect_api.wait_for(made.json()["id"], lambda run: run.state.is_final())
    assert "nowhere: expected a run folder" in run.state.message
    assert not (prefect_place.home / "taken-over").exists()


def test_files_outside_of_the_roots_are_refused(prefect_api, prefect_worker, prefect_place):
    model = {"run": "nowhere", "out": "out"}
    refused = {
        "predict/local": (model | {"images": "/etc"}, "images must lie under"),
        "make-submission/local": (model | {"out": "../out.csv"}, "out must lie under"),
        "pseudo-label-loop/local": ({"config": "/etc/passwd"}, "config must lie under"),
    }
    started = {deployment: prefect_api.start(deployment, asked) for deployment, (asked, _) in refused.items()}
    for deployment, (_, message) in refused.items():
        run = prefect_api.wait_for(started[deployment], lambda run: run.state.is_final())
        assert run.state_name == "Failed"
        assert message in run.state.message
        assert str(prefect_place.home) in run.state.message


@pytest.mark.parametrize("headers", [{}, basic("segloop:guessed")])
def test_without_the_auth_string_nothing_is_told_and_nothing_is_done(prefect_api, headers):
    assert request(f"{prefect_api.url}/health")[0] == 200
    assert request(f"{prefect_api.url}/admin/version", headers=headers)[0] == 401
    assert request(f"{prefect_api.url}/work_pools/{bootstrap.POOL}", headers=headers)[0] == 401


def test_a_post_without_csrf_token_is_refused(prefect_api):
    headers = basic(prefect_api.env["PREFECT_API_AUTH_STRING"])
    assert request(f"{prefect_api.url}/admin/version", headers=headers)[0] == 200
    assert request(f"{prefect_api.url}/deployments/filter", {}, headers)[0] == 403


@pytest.mark.parametrize(
    ("origin", "allowed"), [("http://127.0.0.1:4200", "http://127.0.0.1:4200"), ("https://evil.example", None)]
)
def test_pages_from_elsewhere_may_not_talk_to_the_server(prefect_api, origin, allowed):
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    _, headers = request(f"{prefect_api.url}/deployments/filter", headers=asked, method="OPTIONS")
    assert headers["Access-Control-Allow-Origin"] == allowed
