"""What `segloop setup` leaves on a server, and what that server refuses."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.server

DEPLOYMENTS = {
    "pseudo-label-loop/local",
    "pseudo-label-loop/gpu",
    "predict/local",
    "evaluate/local",
    "make-submission/local",
    "mark-crashed/local",
}


def test_every_deployment_is_there_and_lives_in_the_pool(prefect_api):
    with prefect_api.client() as client:
        flows = {flow.id: flow.name for flow in client.read_flows()}
        found = {f"{flows[item.flow_id]}/{item.name}": item for item in client.read_deployments()}
    assert set(found) == DEPLOYMENTS
    assert {item.work_pool_name for item in found.values()} == {"segloop"}
    assert found["pseudo-label-loop/gpu"].work_queue_name == "gpu"
    assert found["pseudo-label-loop/gpu"].parameters == {"overrides": ["runtime.device=cuda"]}
    assert {item.work_queue_name for name, item in found.items() if not name.endswith("/gpu")} == {"default"}


def test_a_worker_runs_a_deployment_in_its_home(prefect_api, prefect_worker):
    parameters = {"run": "nowhere", "out": "out.csv"}
    run = prefect_api.run_to_its_end("make-submission/local", parameters)
    assert run.state_name == "Failed"
    assert "nowhere: expected a run folder" in run.state.message
