"""Server, setup and worker together on one machine, and a clean end of all three."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from prefect.client.orchestration import get_client

from flows import automations, bootstrap, connection
from flows.home import home_roots
from flows.server import answers, running_server
from segcore.config.roots import ROOTS
from segcore.process.child import ProcessSpec, SupervisedProcess
from tasks.crashed import Zombie, mark_crashed_runs

Say = Callable[[str], None]

WORKER_GRACE_S = 150.0  # Prefect gives a run 30 s to end by itself; then its trainer saves (runtime.grace_s, 60 s)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
START_A_RUN = "prefect deployment run pseudo-label-loop/local -p config=configs/demo.yaml"


@dataclass(frozen=True)
class SetupSpec:
    """What to set up. num_gpus: None keeps the limit that is set. notify: slug of a notification block, or None."""

    num_gpus: int | None = None
    automations: bool = False
    notify: str | None = None


def set_up(spec: SetupSpec) -> list[str]:
    """Prepare the configured server, or one on this machine, started for the moment when it does not run.

    Returns a line on everything that is there now.
    """
    project = bootstrap.project_folder()
    with connection.connected() as lines, local_server(project) as started:
        where = "started for the moment" if started else "answers"
        return [f"server {connection.api_url()}: {where}", *lines, *fill_server(project, spec)]


def fill_server(project: Path, spec: SetupSpec) -> list[str]:
    """Register what spec asks for with the server that runs now; return a line on each part."""
    lines = [*connection.access_lines(), *bootstrap.register(project, spec.num_gpus)]
    with get_client(sync_client=True) as client:
        if spec.automations:
            lines.append(automations.ensure_silence_automation(client))
        if spec.notify is not None:
            lines.append(automations.ensure_notification(client, spec.notify))
    return lines


def commands() -> list[str]:
    """Return what to type to start server and worker, and how to log in."""
    prefect = "prefect" if shutil.which("prefect") else f"{shlex.quote(sys.executable)} -m prefect"
    roots = os.environ.get(ROOTS) or str(Path.cwd())
    there = f"cd {shlex.quote(str(bootstrap.project_folder()))} && "
    return [
        f"server  {there}{prefect} server start",
        f"worker  {there}{ROOTS}={shlex.quote(roots)} {prefect} {shlex.join(worker_arguments())}",
        *how_to_log_in(),
        "segloop up starts both",
    ]


def how_to_log_in() -> list[str]:
    """Return where the UI is and where the auth string stands that it asks for."""
    return [
        f"UI      {connection.ui_url()}",
        f"log in  with {connection.SERVER_AUTH}, in {connection.profile_path()}",
    ]


def worker_arguments() -> list[str]:
    """Return the arguments of prefect that start a worker."""
    return ["worker", "start", "--pool", bootstrap.POOL, "--name", f"segloop-{platform.node()}"]


def stay_up(say: Say) -> None:
    """Run server, setup and worker until a signal; then end the runs, then the server. say: prints a line.

    StepError when the server does not start or the worker ends by itself. However this process ends, nothing that it
    started lives on.
    """
    project, roots = bootstrap.project_folder(), home_roots()
    with connection.connected(), local_server(project, roots[0]):
        for line in fill_server(project, SetupSpec()):
            say(line)
        tell_crashed(roots[0], timedelta(seconds=30), say)
        with told_to_stop(say) as stop, SupervisedProcess(worker_spec(project, roots)) as worker:
            say(
                "\n".join(
                    ["", *how_to_log_in(), f"start   {START_A_RUN}", f"logs    {logs_of(roots[0])}/prefect-*.log"]
                )
            )
            wait_for_end(worker, stop)
            say("stopping; trainers save a checkpoint first, which may take a minute or two")
            worker.stop()
            tell_crashed(roots[0], timedelta(0), say)


@contextlib.contextmanager
def local_server(project: Path, home: Path | None = None) -> Iterator[bool]:
    """Run a server on this machine for the block unless the configured one answers; yield whether it was started.

    home: its log goes to artifacts/ there, None for the current folder.
    """
    url = connection.api_url()
    if answers(url):
        yield False
        return
    log_path = logs_of(home or Path.cwd()) / "prefect-server.log"
    with running_server(connection.port_of(url), log_path, bootstrap.prefect_environment(), project):
        yield True


def worker_spec(project: Path, roots: tuple[Path, ...]) -> ProcessSpec:
    """Return how to start a worker whose flow runs live in the first of the roots."""
    return ProcessSpec(
        (sys.executable, "-m", "prefect", *worker_arguments()),
        logs_of(roots[0]) / "prefect-worker.log",
        grace_s=WORKER_GRACE_S,
        env={**bootstrap.prefect_environment(), ROOTS: os.pathsep.join(map(str, roots))},
        cwd=project,
    )


def logs_of(home: Path) -> Path:
    """Return the folder of the logs of server and worker."""
    return home / "artifacts"


@contextlib.contextmanager
def told_to_stop(say: Say) -> Iterator[threading.Event]:
    """Turn the first signal into an event for the block; later ones only say that it is on its way."""
    stop = threading.Event()

    def hear(number: int, frame: object) -> None:
        del number, frame
        if stop.is_set():
            say("still stopping; nothing would be left behind, and no run be lost, if this were killed as well")
        stop.set()

    before = {number: signal.signal(number, hear) for number in STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for_end(worker: SupervisedProcess, stop: threading.Event) -> None:
    """Block until somebody wants to stop; StepError with the log's last lines when the worker ends before."""
    while not stop.wait(0.5):
        if worker.poll() is not None:
            worker.require_success()
            return


def tell_crashed(home: Path, min_age: timedelta, say: Say) -> None:
    """Mark runs that say Running though nobody works on them as Crashed, and say how to go on with them.

    home: where relative paths in their parameters begin. min_age: younger states are left alone.
    """
    with contextlib.chdir(home):
        crashed: list[Zombie] = mark_crashed_runs(min_age=min_age)
    for run in crashed:
        say(
            f"run {run.run_id} ({run.name}): not at work, marked as Crashed; it goes on with Retry in the UI, "
            f"prefect flow-run retry {run.flow_run_id}, or segloop run"
        )
