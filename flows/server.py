"""A Prefect server as a child process: how it is started, and how to know that one answers."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from segcore.errors import StepError
from segcore.process.child import ProcessSpec, SupervisedProcess

STARTUP_S = 120.0
PROBE_S = 2.0


@contextlib.contextmanager
def running_server(
    port: int, log_path: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[SupervisedProcess]:
    """Run a server on this machine for the block; it answers when the block begins and is gone at its end.

    It has a session of its own and ends with this process, however that ends. env: settings on top of this process's.
    cwd: folder whose prefect.toml it reads. StepError when it does not start.
    """
    with SupervisedProcess(ProcessSpec(server_command(port), log_path, grace_s=5.0, env=env, cwd=cwd)) as server:
        wait_until_healthy(server, local_api(port), log_path)
        yield server


def server_command(port: int) -> tuple[str, ...]:
    """Return the command of a Prefect server on this machine alone."""
    app = ("--factory", "prefect.server.api.server:create_app")
    where = ("--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on")
    return (sys.executable, "-m", "uvicorn", *app, *where)


def local_api(port: int) -> str:
    """Return the API URL of a server on this machine."""
    return f"http://127.0.0.1:{port}/api"


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(api_url: str) -> bool:
    """Return whether a Prefect server answers there now; it needs no auth string for that."""
    with contextlib.suppress(urllib.error.URLError, OSError):
        urllib.request.urlopen(f"{api_url}/health", timeout=PROBE_S).close()
        return True
    return False


def wait_until_healthy(server: SupervisedProcess, api_url: str, log_path: Path) -> None:
    """Block until the server answers; StepError when it ends or takes too long."""
    end = time.monotonic() + STARTUP_S
    while time.monotonic() < end:
        if server.poll() is not None:
            server.require_success()
        if answers(api_url):
            return
        time.sleep(0.1)
    raise StepError(f"the Prefect server must answer within {STARTUP_S:g} s, and did not; see {log_path}")
