"""Prefect for `segloop run` without a server: a temporary one on this machine, quiet, gone when the run is.

Prefect's own ephemeral server outlives a killed owner and dies of the owner's Ctrl-C before the flow could say
goodbye. So the server runs under segloop's supervisor, in a session of its own, and ends with this process however
that ends. Where PREFECT_API_URL is set, that server is used instead.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from flows.server import free_port, local_api, running_server

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
    "PREFECT_CLIENT_MAX_RETRIES": "10",  # a server may be away for a minute
}


@contextlib.contextmanager
def prefect_server(log_path: Path) -> Iterator[None]:
    """Prepare Prefect; run a server for the block unless PREFECT_API_URL names one.

    log_path: the temporary server's log. A variable that the user has set stays as it is.
    """
    if os.environ.get("PREFECT_API_URL"):
        prepare_prefect()
        yield
        return
    # nobody but this terminal reads the log, where each error would be four times with its traceback; the CLI prints it
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    prepare_prefect()
    port = free_port()
    with running_server(port, log_path):
        os.environ["PREFECT_API_URL"] = local_api(port)
        try:
            yield
        finally:
            del os.environ["PREFECT_API_URL"]


def prepare_prefect() -> None:
    """Set what Prefect reads when it is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
