"""A cross-validation that is cancelled in Prefect: the chain at work stops, and no other one begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.filters import FlowRunFilter
from prefect.states import Cancelling

from segcore.process.supervisor import descendants
from segcore.store.lock import lock_holder

from .conftest import has_ended
from .watching import trained_past, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(900)]

CHANGES = ["loop.rounds=0", "roles.val_share=0.6", "roles.min_gate_images=2", "train.iterations=2000"]


def working_on(folder: Path, root: int) -> list[int]:
    """Return the processes below root that name a run folder on their command line: its trainer and labeller."""
    lines = {pid: Path(f"/proc/{pid}/cmdline") for pid in descendants(root)}
    return [pid for pid, line in lines.items() if line.exists() and f"{folder}/".encode() in line.read_bytes()]


def test_a_cross_validation_that_is_cancelled_in_prefect_ends_all_its_chains(
    prefect_api: Any, prefect_place: Any, prefect_worker: Any
) -> None:
    artifacts = prefect_place.home / "artifacts"
    first, second, parent = (artifacts / f"stopped-{name}" for name in ("fold0", "fold1", "cv"))
    worker = prefect_worker.started.pid
    parameters = {"config": "tiny.yaml", "run_id": "stopped", "num_folds": 2, "overrides": CHANGES}
    flow_run_id = prefect_api.start("cross-validate/local", parameters)
    wait_until(lambda: trained_past(first, "round_00/student", 2), "a training of the first chain")
    assert working_on(first, worker)
    with prefect_api.client() as client:
        client.set_flow_run_state(flow_run_id, Cancelling(), force=False)
    assert prefect_api.wait_for(flow_run_id, has_ended).state_name == "Cancelled"

    wait_until(lambda: all(lock_holder(folder) is None for folder in (first, parent)), "the end of all that worked")
    assert not working_on(artifacts, worker)
    assert not second.exists(), "the second chain began after the cross-validation was cancelled"
    assert not (parent / "outputs").exists()
    with prefect_api.client() as client:
        wanted = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [flow_run_id]}})
        chains = client.read_flow_runs(flow_run_filter=wanted)
    assert [chain.state_name for chain in chains] == ["Cancelled"]
