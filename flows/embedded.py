"""Prefect for `segloop run` without a server: a temporary one on this machine, quiet, gone when the run is.

Prefect's own ephemeral server outlives a killed owner and dies of the owner's Ctrl-C before the flow could say
goodbye. So the server runs under segloop's supervisor, in a session of its own, and ends with this process however
that ends. Where PREFECT_API_URL is set, that server is used instead.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from segcore.errors import StepError
from segcore.process.child import ProcessSpec, SupervisedProcess

STARTUP_S = 120.0
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
    with SupervisedProcess(ProcessSpec(server_command(port), log_path, grace_s=5.0)) as server:
        wait_until_healthy(server, port, log_path)
        os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        try:
            yield
        finally:
            del os.environ["PREFECT_API_URL"]


def prepare_prefect() -> None:
    """Set what Prefect reads when it is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def server_command(port: int) -> tuple[str, ...]:
    """Return the command of a Prefect server on this machine alone."""
    app = ("--factory", "prefect.server.api.server:create_app")
    where = ("--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on")
    return (sys.executable, "-m", "uvicorn", *app, *where)


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_healthy(server: SupervisedProcess, port: int, log_path: Path) -> None:
    """Block until the server answers; StepError when it ends or takes too long."""
    end = time.monotonic() + STARTUP_S
    while time.monotonic() < end:
        if server.poll() is not None:
            server.require_success()
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2).close()
            return
        time.sleep(0.1)
    raise StepError(f"the temporary Prefect server must answer within {STARTUP_S:g} s, and did not; see {log_path}")
