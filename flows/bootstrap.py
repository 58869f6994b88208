"""What a Prefect server must hold for segloop: a work pool, its GPU queue, the deployments. Safe to repeat.

The pool's job template takes no variables: whoever may start runs through the API chooses parameters, and neither a
command nor environment nor folder (with Prefect's own template a request can run any shell command on the worker).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.utilities.importtools import import_object

import flows
from segcore.errors import ConfigError, StepError

POOL = "segloop"
GPU_QUEUE = "gpu"
DEPLOYMENTS = "prefect.yaml"
POOL_DESCRIPTION = "Runs of segloop, as processes of the worker; no command, environment or folder from the API."
QUEUE_DESCRIPTION = "Runs that need a GPU; the limit is the number of GPUs."
JOB_TEMPLATE: dict[str, Any] = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}


def register(project: Path, num_gpus: int | None) -> tuple[str, ...]:
    """Make or correct the pool, its GPU queue and all deployments; return a line on each of them.

    project: folder of prefect.yaml. num_gpus: GPU runs at a time; None keeps what is set, at first this machine's GPUs.
    The server is the one of Prefect's current settings.
    """
    with get_client(sync_client=True) as client:
        lines = (ensure_pool(client), ensure_gpu_queue(client, num_gpus))
        before = deployment_names(client)
        deploy_all(project)
        return (*lines, *deployment_lines(before, deployment_names(client)))


def ensure_pool(client: SyncPrefectClient) -> str:
    """Make the work pool, or give it our job template back; return what was done."""
    try:
        pool = client.read_work_pool(POOL)
    except ObjectNotFound:
        wanted = WorkPoolCreate(name=POOL, type="process", description=POOL_DESCRIPTION, base_job_template=JOB_TEMPLATE)
        client.create_work_pool(wanted)
        return f"work pool {POOL}: made"
    if pool.type != "process":
        raise ConfigError(
            f"work pool {POOL} must be of type process, got {pool.type}; delete it (prefect work-pool delete {POOL}) "
            "and run segloop setup again"
        )
    if pool.base_job_template == JOB_TEMPLATE:
        return f"work pool {POOL}: was there"
    client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=JOB_TEMPLATE, description=POOL_DESCRIPTION))
    return f"work pool {POOL}: was there with another job template, corrected"


def ensure_gpu_queue(client: SyncPrefectClient, num_gpus: int | None) -> str:
    """Make the queue of GPU runs, or set its limit unless num_gpus is None; return what was done."""
    try:
        queue = client.read_work_queue_by_name(GPU_QUEUE, work_pool_name=POOL)
    except ObjectNotFound:
        limit = num_gpus or num_gpus_here()
        client.create_work_queue(GPU_QUEUE, description=QUEUE_DESCRIPTION, concurrency_limit=limit, work_pool_name=POOL)
        return f"queue {GPU_QUEUE}: made, {limit} at a time"
    if num_gpus in (None, queue.concurrency_limit):
        return f"queue {GPU_QUEUE}: was there, {queue.concurrency_limit} at a time"
    client.update_work_queue(queue.id, concurrency_limit=num_gpus)
    return f"queue {GPU_QUEUE}: was there, {num_gpus} at a time now instead of {queue.concurrency_limit}"


def deploy_all(project: Path) -> None:
    """Register every deployment of prefect.yaml; StepError with all that Prefect said when that fails."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", DEPLOYMENTS]
    env = {**os.environ, **prefect_environment()}
    done = subprocess.run(command, cwd=project, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise StepError(
            f"{project / DEPLOYMENTS}: the deployments must register, and {' '.join(command)} ended with exit code "
            f"{done.returncode}:\n{done.stdout}{done.stderr}"
        )


def prefect_environment() -> dict[str, str]:
    """Return Prefect's current settings as variables for a child process, the auth string included."""
    return get_current_settings().to_environment_variables(exclude_unset=True)


def deployment_names(client: SyncPrefectClient) -> frozenset[str]:
    """Return flow/deployment of all deployments in our pool."""
    flows_by_id = {flow.id: flow.name for flow in client.read_flows()}
    return frozenset(
        f"{flows_by_id[deployment.flow_id]}/{deployment.name}"
        for deployment in client.read_deployments()
        if deployment.work_pool_name == POOL
    )


def expected_deployments() -> frozenset[str]:
    """Return flow/deployment of what prefect.yaml names."""
    listed = yaml.safe_load((project_folder() / DEPLOYMENTS).read_text(encoding="utf-8"))["deployments"]
    return frozenset(f"{import_object(item['entrypoint']).name}/{item['name']}" for item in listed)


def deployment_lines(before: frozenset[str], now: frozenset[str]) -> tuple[str, ...]:
    """Return a line on each deployment."""
    return tuple(f"deployment {name}: {'registered again' if name in before else 'made'}" for name in sorted(now))


def project_folder() -> Path:
    """Return the folder of prefect.yaml: the current one, else the one that the package flows lies in."""
    places = (Path.cwd(), Path(flows.__file__).resolve().parents[1])
    for place in places:
        if (place / DEPLOYMENTS).is_file():
            return place
    raise ConfigError(
        f"{DEPLOYMENTS} must be in the current folder or beside the installed package, found none in "
        f"{places[0]} or {places[1]}; go to your checkout of segloop"
    )


def num_gpus_here() -> int:
    """Return the number of NVIDIA GPUs of this machine, at least 1. Looks at /dev, so that no torch is loaded."""
    return max(1, len(list(Path("/dev").glob("nvidia[0-9]*"))))
