"""The automations fire for real: a silent run is looked at, and somebody is told when a run has ended."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid4

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Failed, Running

from flows import automations
from segcore.errors import ConfigError

pytestmark = pytest.mark.server

CONFIG = "no-such-config.yaml"


@pytest.fixture
def client(prefect_api):
    """Return a client; what the test automates ends with it."""
    with prefect_api.client() as client:
        yield client
        for automation in client.read_automations():
            client.delete_automation(automation.id)


@pytest.fixture
def silent_run(client) -> Iterator[FlowRun]:
    """Return a flow run of the loop that says Running, and of which nothing is heard."""
    deployment = client.read_deployment_by_name("pseudo-label-loop/local")
    run = client.create_flow_run_from_deployment(deployment.id, parameters={"config": CONFIG}, state=Running())
    yield client.read_flow_run(run.id)
    client.set_flow_run_state(run.id, Cancelled(), force=True)


def beat(client, run: FlowRun) -> None:
    """Send the event that Prefect's engine sends every heartbeat."""
    event = {
        "id": str(uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name},
        "related": [
            {
                "prefect.resource.id": f"prefect.flow.{run.flow_id}",
                "prefect.resource.role": "flow",
                "prefect.resource.name": automations.LOOP,
            }
        ],
    }
    client.request("POST", "/events", json=[event])


def looks_at(client, run: FlowRun) -> list[FlowRun]:
    """Return the runs of mark-crashed that look at a flow run."""
    return [other for other in client.read_flow_runs() if other.parameters.get("flow_run_id") == str(run.id)]


def test_a_run_is_looked_at_when_its_heartbeats_stop_and_not_before(prefect_api, prefect_worker, client, silent_run):
    said = automations.ensure_silence_automation(client, timedelta(seconds=10))
    assert said.endswith("made")
    assert automations.ensure_silence_automation(client, timedelta(seconds=10)).endswith("was there")
    last_beat = time.monotonic() + 14
    while time.monotonic() < last_beat:  # longer than the silence that is waited for
        beat(client, silent_run)
        time.sleep(2)
    assert looks_at(client, silent_run) == []
    end = time.monotonic() + 60
    while not looks_at(client, silent_run):
        assert time.monotonic() < end, "the automation has not fired"
        time.sleep(0.5)
    (look,) = looks_at(client, silent_run)
    assert prefect_api.wait_for(look.id, lambda run: run.state.is_final()).state_name == "Completed"
    assert client.read_flow_run(silent_run.id).state_name == "Running"  # whose config nobody can read is left alone


class Receiver(BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    received: list[dict[str, Any]]

    def do_POST(self) -> None:
        """Keep it."""
        self.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Return the URL of a web hook, and the list of what it gets."""
    received: list[dict[str, Any]] = []
    with HTTPServer(("127.0.0.1", 0), type("Mine", (Receiver,), {"received": received})) as hook:
        thread = threading.Thread(target=hook.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{hook.server_port}", received
        hook.shutdown()
        thread.join()


def test_somebody_is_told_how_a_run_ended_and_how_it_goes_on(prefect_api, client, silent_run, receiver):
    url, received = receiver
    with prefect_api.settings():
        CustomWebhookNotificationBlock(
            name="hook", url=url, json_data={"subject": "{{subject}}", "body": "{{body}}"}
        ).save("team", overwrite=True)
    assert automations.ensure_notification(client, "custom-webhook/team").endswith("made")
    assert automations.ensure_notification(client, "custom-webhook/team").endswith("was there")
    time.sleep(1)  # the server takes note of a new automation in the background
    client.set_flow_run_state(silent_run.id, Failed(message="no space left on the disk"), force=True)
    end = time.monotonic() + 30
    while not received:
        assert time.monotonic() < end, "nobody was told"
        time.sleep(0.2)
    (told,) = received
    assert told["subject"] == f"segloop: {silent_run.name} Failed"
    for words in ("no space left on the disk", "Retry in the UI", f"prefect flow-run retry {silent_run.id}"):
        assert words in told["body"]


def test_a_block_that_is_not_there_is_an_error_that_says_where_to_make_it(client):
    with pytest.raises(ConfigError, match=r"--notify must be TYPE/NAME .* got slack-webhook/nobody"):
        automations.ensure_notification(client, "slack-webhook/nobody")


def test_an_automation_that_was_changed_is_corrected_and_one_that_was_paused_stays_paused(client):
    automations.ensure_silence_automation(client, timedelta(seconds=99))
    (there,) = client.read_automations_by_name(automations.SILENT_NAME)
    client.pause_automation(there.id)
    assert automations.ensure_silence_automation(client).endswith("corrected")
    (there,) = client.read_automations_by_name(automations.SILENT_NAME)
    assert there.trigger.within == automations.SILENCE
    assert not there.enabled
