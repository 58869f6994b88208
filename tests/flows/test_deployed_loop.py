"""The loop as its users run it: deployed, watched, retried, cancelled, resumed; real server, worker, trainings."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.filters import FlowRunFilter, LogFilter
from prefect.client.schemas.objects import FlowRun, TaskRun

from segcore.store.events import read_events
from segcore.store.lock import lock_holder

from .watching import begun, times_done, trained_past, wait_until

pytestmark = [pytest.mark.server, pytest.mark.timeout(900), pytest.mark.usefixtures("prefect_worker")]

LOOP = "pseudo-label-loop/local"
TIMEOUT_S = 240
CARDS = {
    "round-metrics", "gate-decision", "label-progress", "train-progress", "pseudo-label-preview",
    "calibration", "quality-card", "run-summary",
}  # fmt: skip


def prefect_command(api: Any, *arguments: str) -> str:
    """Run a prefect command as a person would; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        env={**os.environ, **api.env, "PREFECT_LOGGING_LEVEL": "WARNING"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def start(api: Any, run_id: str, **more: Any) -> UUID:
    """Ask for a run of the loop under a run_id of its own."""
    return api.start(LOOP, {"config": "tiny.yaml", "run_id": run_id, **more})


def has_ended(run: FlowRun) -> bool:
    """Return whether a flow run is in a final state."""
    return run.state is not None and run.state.is_final()


def resumed_at(folder: Path) -> list[int]:
    """Return the iterations that trainings went on from."""
    text = "\n".join(path.read_text() for path in (folder / "logs").rglob("student.*.log"))
    return [int(number) for number in re.findall(r"resuming at iteration (\d+)", text)]


def whole_family(api: Any, flow_run_id: UUID) -> tuple[list[FlowRun], list[TaskRun]]:
    """Return the subflow runs of a flow run, and the task runs of all of them."""
    with api.client() as client:
        wanted = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [flow_run_id]}})
        children = client.read_flow_runs(flow_run_filter=wanted)
        tasks = client.read_task_runs(flow_run_filter=of_family(flow_run_id, children))
    return children, tasks


def of_family(flow_run_id: UUID, children: Sequence[FlowRun]) -> FlowRunFilter:
    """Return a filter for a flow run and its subflows."""
    return FlowRunFilter.model_validate({"id": {"any_": [flow_run_id, *(child.id for child in children)]}})


def outcome(folder: Path) -> dict[str, Any]:
    """Return what two equal runs must agree on."""
    rounds = [json.loads(path.read_text()) for path in sorted(folder.glob("round_*/round.json"))]
    return {
        "weights": [record["student"]["digest"] for record in rounds],
        "decisions": [record["decision"] for record in rounds],
        "annotations": (folder / "outputs" / "annotations.json").read_text(),
    }


@pytest.fixture(scope="module")
def finished(prefect_api: Any, prefect_place: Any) -> tuple[UUID, Path]:
    """Run the loop once as the docs say; return the flow run's id and the run folder."""
    started = prefect_command(prefect_api, "deployment", "run", LOOP, "-p", "config=tiny.yaml", "-p", "run_id=whole")
    flow_run_id = UUID(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", started)[0])
    run = prefect_api.wait_for(flow_run_id, has_ended, TIMEOUT_S)
    assert run.state_name == "Completed", run.state
    return flow_run_id, prefect_place.home / "artifacts" / "whole"


def test_a_run_shows_its_rounds_its_steps_and_what_came_out(prefect_api: Any, finished: tuple[UUID, Path]) -> None:
    flow_run_id, folder = finished
    assert (folder / "outputs" / "report.html").stat().st_size > 10_000
    children, tasks = whole_family(prefect_api, flow_run_id)
    assert sorted(child.name for child in children) == ["whole round 0", "whole round 1"]
    names = {task.name for task in tasks}
    expected = {"index images", "train round_00/student", "train round_01/student", "filter pseudo-labels", "gate"}
    assert expected | {"label shard 0000", "publish outputs"} <= names
    with prefect_api.client() as client:
        assert client.read_flow_run(flow_run_id).name == "whole"
        artifacts = client.read_artifacts(flow_run_filter=of_family(flow_run_id, children))
    assert {item.key for item in artifacts} == CARDS
    previews = [str(item.data) for item in artifacts if item.key == "pseudo-label-preview"]
    assert all("data:image/" in text and len(text) < 300_000 for text in previews)


def test_the_log_of_a_run_tells_the_whole_story_once(prefect_api: Any, finished: tuple[UUID, Path]) -> None:
    with prefect_api.client() as client:
        logs = client.read_logs(LogFilter.model_validate({"flow_run_id": {"any_": [finished[0]]}}), limit=200)
    said = Counter(log.message for log in logs)
    assert {text: times for text, times in said.items() if times > 1} == {}
    for beginning in ("index: ", "round_01/student: train on", "round 0: gate mIoU", "round 1: gate mIoU", "stopped: "):
        assert sum(text.startswith(beginning) for text in said) == 1, (beginning, said)
    assert not [log.name for log in logs if log.name.startswith("prefect")], "Prefect's own lines are noise here"


def test_a_second_run_under_the_same_name_reuses_everything_and_says_so(
    prefect_api: Any, finished: tuple[UUID, Path]
) -> None:
    folder = finished[1]
    before, trained = outcome(folder), times_done(folder, "train")
    run = prefect_api.wait_for(start(prefect_api, "whole"), has_ended, TIMEOUT_S)
    assert run.state_name == "Completed", run.state
    _, tasks = whole_family(prefect_api, run.id)
    redone = {task.name for task in tasks if task.state_name != "Reused" and not task.name.startswith("pseudo-label-")}
    assert redone == {"gate", "publish outputs"}  # cheap, and made anew each time
    assert (outcome(folder), times_done(folder, "train")) == (before, trained)


def test_retry_after_a_failure_late_in_round_1_trains_nothing_again(prefect_api: Any, prefect_place: Any) -> None:
    folder = prefect_place.home / "artifacts" / "late"
    in_the_way = folder / "round_01" / "round.json"
    in_the_way.mkdir(parents=True)  # the gate cannot write its decision
    run = prefect_api.wait_for(start(prefect_api, "late"), has_ended, TIMEOUT_S)
    assert run.state_name == "Failed", run.state
    once = Counter({"round_00/student": 1, "round_01/student": 1})
    assert times_done(folder, "train") == once
    retry_from_the_ui(prefect_api, run.id)
    run = prefect_api.wait_for(run.id, lambda run: has_ended(run) and run.run_count == 2, TIMEOUT_S)
    assert run.state_name == "Failed", "what was wrong still is"
    in_the_way.rmdir()
    prefect_command(prefect_api, "flow-run", "retry", str(run.id))
    run = prefect_api.wait_for(run.id, lambda run: has_ended(run) and run.run_count == 3, TIMEOUT_S)
    assert run.state_name == "Completed", run.state
    assert times_done(folder, "train") == once


def retry_from_the_ui(api: Any, flow_run_id: UUID) -> None:
    """Ask for what the Retry button asks for."""
    from prefect.client.schemas.objects import State, StateType

    state: State[None] = State(type=StateType.SCHEDULED, name="AwaitingRetry", message="Retry from the UI")
    with api.client() as client:
        client.set_flow_run_state(flow_run_id, state, force=False)


def cancel_from_the_ui(api: Any, flow_run_id: UUID) -> FlowRun:
    """Ask for what the Cancel button asks for; return the flow run once it has ended."""
    from prefect.states import Cancelling

    with api.client() as client:
        client.set_flow_run_state(flow_run_id, Cancelling(), force=False)
    return api.wait_for(flow_run_id, has_ended, TIMEOUT_S)


def test_cancelled_in_training_and_in_labelling_it_goes_on_and_ends_as_if_undisturbed(
    prefect_api: Any, prefect_place: Any, finished: tuple[UUID, Path]
) -> None:
    folder = prefect_place.home / "artifacts" / "cancelled"
    first = start(prefect_api, "cancelled")
    wait_until(lambda: trained_past(folder, "round_00/student", 3), "a training of round 0")
    assert cancel_from_the_ui(prefect_api, first).state_name == "Cancelled"
    wait_until(lambda: lock_holder(folder) is None, "the end of the trainer")
    retry_from_the_ui(prefect_api, first)
    wait_until(lambda: begun(folder, "label"), "the labelling of round 1")
    assert cancel_from_the_ui(prefect_api, first).state_name == "Cancelled"
    wait_until(lambda: lock_holder(folder) is None, "the end of the labelling process")
    last = prefect_api.wait_for(start(prefect_api, "cancelled"), has_ended, TIMEOUT_S)
    assert last.state_name == "Completed", last.state
    assert max(resumed_at(folder)) >= 3, "training began again from the start"
    assert set(times_done(folder, "train").values()) == {1}
    assert outcome(folder) == outcome(finished[1])


def answer_the_form(api: Any, flow_run_id: UUID, answer: dict[str, Any]) -> None:
    """Resume a suspended flow run with what a person filled in; its form is there a moment after its state."""
    with api.client() as client:
        wait_until(
            lambda: client.resume_flow_run(flow_run_id, run_input=answer).status == "ACCEPT", "the form of the question"
        )


def test_a_second_run_while_one_is_alive_is_told_who_holds_it(prefect_api: Any, prefect_place: Any) -> None:
    folder = prefect_place.home / "artifacts" / "busy"
    overrides = ["loop.require_approval=true"]
    first = start(prefect_api, "busy", overrides=overrides)
    wait_until(lambda: trained_past(folder, "round_00/student", 1), "a training of round 0")
    second = prefect_api.wait_for(start(prefect_api, "busy", overrides=overrides), has_ended, TIMEOUT_S)
    assert second.state_name == "Failed"
    assert second.state is not None
    assert "must be free to be written to, and is held by pid" in str(second.state.message)
    waiting = prefect_api.wait_for(first, lambda run: run.state_name == "Suspended", TIMEOUT_S)
    assert times_done(folder, "train") == Counter({"round_00/student": 1})
    assert list(read_events(folder))[-1]["event"] == "waiting"
    wait_until(lambda: lock_holder(folder) is None, "the lock of a run that waits for a person to be free")
    answer_the_form(prefect_api, waiting.id, {"go_on": False, "note": "good enough"})
    ended = prefect_api.wait_for(first, has_ended, TIMEOUT_S)
    assert ended.state_name == "Completed", ended.state
    outputs = [event for event in read_events(folder) if event["event"] == "outputs"]
    assert outputs[-1]["reason"] == "round 1 was not approved: good enough"
    assert times_done(folder, "train") == Counter({"round_00/student": 1})
