"""Prefect for `segloop run` without a server: a temporary one on this machine, quiet, gone when the run is.

Prefect's own ephemeral server outlives a killed owner and dies of the owner's Ctrl-C before the flow could say
goodbye. So the server runs under segloop's supervisor, in a session of its own, and ends with this process however
that ends. Where PREFECT_API_URL names a server, or the Prefect profile names one that answers, that is used instead.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from flows.server import answers, free_port, local_api, running_server
from segcore.errors import CancelledError

SEND_S = 10.0
LATE_RETRIES = "1"  # of what is logged when the temporary server is gone
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
    "PREFECT_CLIENT_MAX_RETRIES": "10",  # a server may be away for a minute
}


@contextlib.contextmanager
def prefect_server(log_path: Path) -> Iterator[None]:
    """Prepare Prefect; run a server for the block unless there is one already.

    log_path: the temporary server's log. A variable that the user has set stays as it is. A flow run that was
    cancelled raises CancelledError.
    """
    prepare_prefect()
    with contextlib.nullcontext() if has_server() else temporary_server(log_path):
        from prefect.exceptions import CancelledRun

        try:
            yield
        except CancelledRun as error:
            raise CancelledError(f"{error}; the same command goes on where this stopped") from None


def has_server() -> bool:
    """Return whether the user has a server: in PREFECT_API_URL, or in the Prefect profile and answering now."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    return url is not None and answers(url)


@contextlib.contextmanager
def temporary_server(log_path: Path) -> Iterator[None]:
    """Run a server that nobody looks at for the block, and let Prefect in this process use it."""
    port = free_port()
    auth = f"segloop:{secrets.token_urlsafe(24)}"
    guarded = {"PREFECT_API_AUTH_STRING": auth, "PREFECT_SERVER_API_AUTH_STRING": auth}
    # an error would be on this terminal four times with its traceback; the command line prints it
    ours = {**guarded, "PREFECT_API_URL": local_api(port), "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    before = {name: os.environ.get(name) for name in ours}
    with running_server(port, log_path, guarded):
        set_variables(ours)
        try:
            yield
        finally:
            send_what_waits()
            set_variables({**before, "PREFECT_CLIENT_MAX_RETRIES": LATE_RETRIES})


def send_what_waits() -> None:
    """Let Prefect's log and event threads end while their server answers.

    A line that is left would be sent to the dead server again and again, by Prefect's client for half an hour, and
    this process could not end before. What comes later still is tried twice.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=SEND_S)


def set_variables(values: Mapping[str, str | None]) -> None:
    """Set environment variables, None deletes one, and let Prefect, its threads and children included, know."""
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    refresh_global_settings_context()
    setup_logging()


def prepare_prefect() -> None:
    """Set what Prefect reads when it is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
