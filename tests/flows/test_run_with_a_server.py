"""`segloop run` beside a server, without worker: cancelled from afar; killed, so that its flow run is a zombie."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, runtime
from prefect.client.schemas.filters import FlowRunFilter, LogFilter
from prefect.client.schemas.objects import FlowRun
from prefect.settings import temporary_settings
from prefect.states import Cancelling

from segcore.errors import CancelledError
from segcore.store.lock import lock_holder
from tasks.crashed import mark_crashed_runs, zombies
from tasks.lab_book import lab_book

from .watching import trained_past, wait_until

pytestmark = [pytest.mark.server, pytest.mark.timeout(400)]

TIMEOUT_S = 120
AT_ONCE = timedelta(0)


def start(api: Any, config: Path, run_id: str) -> subprocess.Popen[bytes]:
    """Start `segloop run` with a long training that the test will end."""
    with (config.parent / f"{run_id}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", str(config), "--run-id", run_id, "--set",
             "train.iterations=100000"],
            env={**os.environ, **api.env}, stdout=log, stderr=log,
        )  # fmt: skip


def flow_run_of(api: Any, run_id: str) -> FlowRun:
    """Return the newest flow run of a name."""
    with api.client() as client:
        wanted = FlowRunFilter.model_validate({"name": {"any_": [run_id]}})
        return client.read_flow_runs(flow_run_filter=wanted)[0]


def test_cancelled_in_prefect_without_a_worker_it_stops_by_itself(prefect_api: Any, prefect_place: Any) -> None:
    folder = prefect_place.home / "artifacts" / "no-worker"
    process = start(prefect_api, prefect_place.config, "no-worker")
    wait_until(lambda: trained_past(folder, "round_00/student", 1), "a training")
    flow_run = flow_run_of(prefect_api, "no-worker")
    with prefect_api.client() as client:
        client.set_flow_run_state(flow_run.id, Cancelling())
    assert process.wait(timeout=TIMEOUT_S) == CancelledError.exit_code
    assert flow_run_of(prefect_api, "no-worker").state_name == "Cancelled"
    assert lock_holder(folder) is None
    assert "error: stopped because the run was cancelled" in (prefect_place.home / "no-worker.log").read_text()


def test_what_a_flow_logs_has_arrived_before_its_run_is_said_to_have_ended(prefect_api: Any) -> None:
    lines_of: list[str] = []

    @flow(name="says-one-thing")
    def says_one_thing() -> None:
        with lab_book():
            logging.getLogger("tasks.cards").info("stopped: enough")
        with prefect_api.client() as client:
            wanted = LogFilter.model_validate({"flow_run_id": {"any_": [runtime.flow_run.id]}})
            lines_of.extend(log.message for log in client.read_logs(wanted))

    with prefect_api.settings(), temporary_settings({"logging.to_api.batch_interval": TIMEOUT_S}):
        says_one_thing()
    assert lines_of == ["stopped: enough"]


def test_a_dead_run_is_marked_crashed_and_a_stalled_one_is_not(prefect_api: Any, prefect_place: Any) -> None:
    folder = prefect_place.home / "artifacts" / "zombie"
    process = start(prefect_api, prefect_place.config, "zombie")
    wait_until(lambda: trained_past(folder, "round_00/student", 1), "a training")
    flow_run = flow_run_of(prefect_api, "zombie")
    process.send_signal(signal.SIGSTOP)  # as good as dead for a server that waits for heartbeats
    with prefect_api.settings():
        assert mark_crashed_runs(only=str(flow_run.id), min_age=AT_ONCE) == []
    process.kill()
    process.wait()
    wait_until(lambda: lock_holder(folder) is None, "the end of the trainer")
    assert flow_run_of(prefect_api, "zombie").state_name == "Running"
    with prefect_api.settings():
        assert [item.run_id for item in zombies(min_age=AT_ONCE)] == ["zombie"]
        assert zombies(min_age=timedelta(hours=1)) == [], "a young state may be about to take the lock"
        assert [item.run_id for item in mark_crashed_runs(min_age=AT_ONCE)] == ["zombie"]
        assert zombies(min_age=AT_ONCE) == []
    assert flow_run_of(prefect_api, "zombie").state_name == "Crashed"
    with prefect_api.client() as client:
        children = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [flow_run.id]}})
        )
        tasks = client.read_task_runs(
            flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [flow_run.id, *(c.id for c in children)]}})
        )
    assert {child.state_name for child in children} == {"Crashed"}
    assert {task.state_name for task in tasks} <= {"Crashed", "Completed"}
