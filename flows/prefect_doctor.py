"""What is wrong with Prefect here, each with its remedy; flow runs that died unnoticed are marked as Crashed."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta

import prefect
from packaging.version import Version
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from flows import bootstrap, connection
from flows.server import PROBE_S, answers
from segcore.steps.doctor import Diagnosis
from tasks.crashed import STARTS_WITHIN, mark_crashed_runs

STRANGER = "https://stranger.example"
SETUP = "run segloop setup"


def examine_prefect(min_age: timedelta = STARTS_WITHIN) -> Iterator[Diagnosis]:
    """Yield what is found, in the order in which a person would look. min_age: see tasks.crashed.zombies."""
    if get_current_settings().api.url is None:
        yield Diagnosis("ok", "no Prefect server is configured: runs bring their own (segloop up starts one to watch)")
        return
    url = connection.api_url()
    if not answers(url):
        yield unanswered(url)
        return
    yield version_finding(url)
    access = access_finding(url)
    yield access
    yield origin_finding(url)
    if access.severity != "problem" or connection.status_of(url, None) == 200:
        with get_client(sync_client=True) as client:
            yield from server_findings(client)
        yield from zombie_findings(min_age)


def unanswered(url: str) -> Diagnosis:
    """Say that the configured server does not answer: no problem where runs can do without."""
    if connection.is_local(url):
        return Diagnosis(
            "note", f"the Prefect server at {url} does not run; until then runs bring their own", "start it: segloop up"
        )
    remedy = "start that server, or forget it: prefect config unset PREFECT_API_URL"
    return Diagnosis("problem", f"the Prefect server at {url} does not answer", remedy)


def version_finding(url: str) -> Diagnosis:
    """Compare the server's version with ours: they must agree in all but the last number."""
    ours = Version(prefect.__version__)
    auth = connection.plain(get_current_settings().api.auth_string)
    try:
        theirs = Version(json.loads(connection.reply_of(url, auth)))
    except (OSError, ValueError):
        return Diagnosis("ok", f"the Prefect server at {url} answers")
    if theirs.release[:2] == ours.release[:2]:
        return Diagnosis("ok", f"the Prefect server at {url} answers, version {theirs}")
    remedy = "install the same Prefect on both sides: pip install -c constraints.txt -e ."
    return Diagnosis("problem", f"the Prefect server at {url} is version {theirs}, and here is {ours}", remedy)


def access_finding(url: str) -> Diagnosis:
    """Look at who may use the server."""
    if connection.status_of(url, None) == 200:
        remedy = f"{SETUP}, then stop that server and start it again"
        return Diagnosis("problem", f"the Prefect server at {url} lets anybody in who can reach it", remedy)
    if connection.status_of(url, connection.plain(get_current_settings().api.auth_string)) != 200:
        remedy = f"set {connection.CLIENT_AUTH} as on the server: prefect config set {connection.CLIENT_AUTH}=…"
        return Diagnosis("problem", f"the Prefect server at {url} does not accept our auth string", remedy)
    return Diagnosis("ok", "the Prefect server asks for an auth string, and accepts ours")


def origin_finding(url: str) -> Diagnosis:
    """Ask as the page of a stranger would, whether it may use the server from a person's browser."""
    headers = {"Origin": STRANGER, "Access-Control-Request-Method": "POST"}
    request = urllib.request.Request(f"{url}/flows/filter", method="OPTIONS", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PROBE_S) as reply:
            allowed = reply.headers.get("access-control-allow-origin")
    except (urllib.error.URLError, OSError):
        allowed = None
    if allowed in ("*", STRANGER):
        remedy = "set PREFECT_SERVER_CORS_ALLOWED_ORIGINS (prefect.toml does, in this folder) and start it again"
        return Diagnosis("problem", "the Prefect server lets pages of any origin in (CORS)", remedy)
    return Diagnosis("ok", "the Prefect server lets no page of another origin in")


def server_findings(client: SyncPrefectClient) -> Iterator[Diagnosis]:
    """Look at pool, deployments and workers."""
    try:
        pool = client.read_work_pool(bootstrap.POOL)
    except ObjectNotFound:
        yield Diagnosis("note", f"the server has no work pool {bootstrap.POOL}, so nothing can be deployed", SETUP)
        return
    if pool.base_job_template != bootstrap.JOB_TEMPLATE:
        found = f"work pool {bootstrap.POOL} has another job template: requests may be able to run commands on workers"
        yield Diagnosis("problem", found, SETUP)
    missing = bootstrap.expected_deployments() - bootstrap.deployment_names(client)
    if missing:
        yield Diagnosis("note", f"deployments are missing: {', '.join(sorted(missing))}", SETUP)
    else:
        yield Diagnosis("ok", f"work pool {bootstrap.POOL} and its deployments are there")
    workers = client.read_workers_for_work_pool(bootstrap.POOL)
    online = [worker.name for worker in workers if worker.status == WorkerStatus.ONLINE]
    if online:
        yield Diagnosis("ok", f"workers: {', '.join(online)}")
    else:
        remedy = "start one: segloop up, or the worker's command that segloop setup prints"
        yield Diagnosis("note", f"no worker of pool {bootstrap.POOL} is online, so deployed runs wait", remedy)


def zombie_findings(min_age: timedelta) -> Iterator[Diagnosis]:
    """Mark flow runs that nobody works on, and say how to go on."""
    for zombie in mark_crashed_runs(min_age=min_age):
        yield Diagnosis(
            "note",
            f"flow run {zombie.name} said it was running, and nobody works on its run; it is marked as Crashed now",
            f"Retry in the UI, or prefect flow-run retry {zombie.flow_run_id}: it goes on where it stopped",
        )
