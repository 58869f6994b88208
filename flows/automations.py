"""Automations on the server: look after runs whose heartbeats stop, and tell somebody when a run ends.

Neither decides anything by itself: silence only starts mark-crashed, which asks the run's lock, so that a run which is
slow, swapped out or suspended with its laptop is left alone.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import ActionTypes, RunDeployment, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from segcore.errors import ConfigError
from tasks.crashed import LOOP

MARK_CRASHED = "mark-crashed/local"
SILENCE = timedelta(seconds=75)  # two and a half heartbeats (flows.heartbeat_frequency in prefect.toml)
ENDS = ("Completed", "Failed", "Crashed", "Cancelled")
SILENT_NAME = "segloop: mark a silent run as Crashed if it is dead"
NOTIFY_NAME = "segloop: tell when a run has ended"
SUBJECT = "segloop: {{ flow_run.name }} {{ flow_run.state.name }}"
BODY = """\
{{ flow_run.name }}: {{ flow_run.state.name }}
{{ flow_run.state.message or "" }}
{% if flow_run.state.name != "Completed" %}
It goes on where it stopped with Retry in the UI, or with: prefect flow-run retry {{ flow_run.id }}
{% endif %}"""


def ensure_silence_automation(client: SyncPrefectClient, silence: timedelta = SILENCE) -> str:
    """Make the automation that has a run looked at once it was silent for that long; return what was done."""
    deployment = client.read_deployment_by_name(MARK_CRASHED)
    flow_run_id = {"__prefect_kind": "jinja", "template": "{{ flow_run.id }}"}
    action = RunDeployment(source="selected", deployment_id=deployment.id, parameters={"flow_run_id": flow_run_id})
    trigger = loop_trigger(
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.*"},  # the next heartbeat, or any state: a run that waits has none
        posture=Posture.Proactive,
        within=silence,
    )
    about = f"A {LOOP} that says Running and sends no heartbeat for {silence.total_seconds():g} s is looked at."
    return ensure_automation(client, SILENT_NAME, about, trigger, action)


def ensure_notification(client: SyncPrefectClient, block: str) -> str:
    """Make the automation that tells through a notification block when a run ends; return what was done.

    block: its slug, as `prefect block ls` shows it, for example "slack-webhook/team".
    """
    type_slug, _, name = block.partition("/")
    try:
        document = client.read_block_document_by_name(name, type_slug)
    except ObjectNotFound:
        raise ConfigError(
            f"--notify must be TYPE/NAME of a notification block on the server, got {block}, which is not there; make "
            "it in the UI under Blocks, and see prefect block ls"
        ) from None
    trigger = loop_trigger(expect={f"prefect.flow-run.{state}" for state in ENDS}, posture=Posture.Reactive)
    action = SendNotification(block_document_id=document.id, subject=SUBJECT, body=BODY)
    return ensure_automation(client, NOTIFY_NAME, f"Through {block}.", trigger, action)


def loop_trigger(**what: Any) -> EventTrigger:
    """Return a trigger on events of each flow run of the loop."""
    return EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": LOOP},
        for_each={"prefect.resource.id"},
        threshold=1,
        **what,
    )


def ensure_automation(
    client: SyncPrefectClient, name: str, description: str, trigger: EventTrigger, action: ActionTypes
) -> str:
    """Make an automation, or correct the one of that name; return what was done."""
    there = client.read_automations_by_name(name)
    enabled = there[0].enabled if there else True  # one that was paused in the UI stays so
    new = AutomationCore(name=name, description=description, enabled=enabled, trigger=trigger, actions=[action])
    if not there:
        client.create_automation(new)
        return f"automation {name!r}: made"
    # an update sends the fields that count as set, so all but the one that it must not name
    wanted = AutomationCore.model_validate(new.model_dump(exclude={"owner_resource"}))
    if AutomationCore.model_validate(there[0].model_dump()) == wanted:
        return f"automation {name!r}: was there"
    client.update_automation(there[0].id, wanted)
    return f"automation {name!r}: was there, corrected"
