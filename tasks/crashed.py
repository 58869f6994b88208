"""Flow runs that say Running though nobody works on them any more: after a power cut, or a worker that was ended.

Prefect cannot tell such a run from one that is busy; a run's lock can. So the lock is asked, never a time-out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelled, Crashed

from segcore.config.load import load_config
from segcore.errors import SegloopError
from segcore.steps.chains import PARENT
from segcore.steps.run import run_folder
from segcore.store.lock import Holder, lock_holder

logger = logging.getLogger(__name__)

LOOP, FOLDS = "pseudo-label-loop", "cross-validate"
ALIVE_STATES = (StateType.RUNNING, StateType.CANCELLING)
STARTS_WITHIN = timedelta(seconds=30)  # between saying Running and taking the lock
GO_ON = "Retry goes on where it stopped"


@dataclass(frozen=True)
class Zombie:
    """A flow run that said Running while nobody worked on it."""

    flow_run_id: str
    name: str
    run_id: str


def zombies(only: str | None = None, min_age: timedelta = STARTS_WITHIN) -> list[Zombie]:
    """Return flow runs of loop and cross-validation that say Running or Cancelling while their lock is free.

    only: look at this flow run alone. min_age: younger states are left alone, since they may be about to take the
    lock. Flow runs whose run folder is not on this machine are left alone as well.
    """
    with get_client(sync_client=True) as client:
        return [zombie for zombie, _ in find_zombies(client, only, min_age)]


def mark_crashed_runs(only: str | None = None, min_age: timedelta = STARTS_WITHIN) -> list[Zombie]:
    """Mark what zombies() finds as Crashed (Cancelled where that was asked for), subflows and tasks too; return it."""
    with get_client(sync_client=True) as client:
        found = list(find_zombies(client, only, min_age))
        for _, flow_run in found:
            mark(client, flow_run)
            logger.info("flow run %s: nobody holds its run, so it is dead; %s", flow_run.name, GO_ON)
    return [zombie for zombie, _ in found]


def find_zombies(client: SyncPrefectClient, only: str | None, min_age: timedelta) -> Iterator[tuple[Zombie, FlowRun]]:
    """Yield zombies with their flow runs."""
    alive = [(name, flow_run) for name in (LOOP, FOLDS) for flow_run in alive_flow_runs(client, name, only)]
    for name, flow_run in alive:
        state = flow_run.state
        if state is None or datetime.now(UTC) - state.timestamp < min_age:
            continue
        folder = folder_of(flow_run, name)
        if folder is None or not folder.is_dir():
            logger.info("flow run %s: its run folder is not on this machine; left alone", flow_run.name)
        elif (holder := lock_holder(folder)) is not None:
            say_alive(flow_run, holder)
        else:
            yield Zombie(str(flow_run.id), flow_run.name, folder.name), flow_run


def alive_flow_runs(client: SyncPrefectClient, name: str, only: str | None) -> list[FlowRun]:
    """Return the flow runs of a flow that say they are alive."""
    wanted: dict[str, object] = {"state": {"type": {"any_": list(ALIVE_STATES)}}}
    if only is not None:
        wanted["id"] = {"any_": [only]}
    return client.read_flow_runs(
        flow_filter=FlowFilter.model_validate({"name": {"any_": [name]}}),
        flow_run_filter=FlowRunFilter.model_validate(wanted),
    )


def folder_of(flow_run: FlowRun, flow_name: str) -> Path | None:
    """Return the run folder a flow run works in, as its parameters tell; None when its config cannot be read."""
    given = flow_run.parameters
    try:
        config = load_config(Path(given["config"]), given.get("overrides") or ())
    except (SegloopError, KeyError, TypeError) as error:
        logger.debug("flow run %s: %s", flow_run.name, error)
        return None
    run_id = given.get("run_id")
    return run_folder(config, PARENT.format(run_id or config.run_id) if flow_name == FOLDS else run_id)


def say_alive(flow_run: FlowRun, holder: Holder) -> None:
    """Say why a flow run is left alone."""
    logger.info("flow run %s is alive: its run is held by %s", flow_run.name, holder)


def mark(client: SyncPrefectClient, flow_run: FlowRun) -> None:
    """Set a dead flow run, the subflows it left and their tasks to a final state."""
    cancelling = flow_run.state is not None and flow_run.state.type == StateType.CANCELLING
    state: State[None] = (Cancelled if cancelling else Crashed)(message=f"nobody works on this run any more; {GO_ON}")
    everybody = [flow_run.id, *(child.id for child in left_behind(client, flow_run.id))]
    tasks = client.read_task_runs(
        flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": everybody}}),
        task_run_filter=TaskRunFilter.model_validate({"state": {"type": {"any_": unfinished()}}}),
    )
    for task_run in tasks:
        client.set_task_run_state(task_run.id, state, force=True)
    for flow_run_id in reversed(everybody):
        client.set_flow_run_state(flow_run_id, state, force=True)


def left_behind(client: SyncPrefectClient, parent: UUID) -> list[FlowRun]:
    """Return the unfinished subflows of a flow run, and theirs, each before its own."""
    wanted = {"parent_flow_run_id": {"any_": [parent]}, "state": {"type": {"any_": unfinished()}}}
    children = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted))
    return [found for child in children for found in (child, *left_behind(client, child.id))]


def unfinished() -> list[StateType]:
    """Return the states of what could still be going on."""
    return [StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED, StateType.CANCELLING]
