"""Prefect inside this process, for `segloop run` without a server: quiet, and with nothing sent anywhere."""

from __future__ import annotations

import os

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
}
WITHOUT_SERVER = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # else each error is printed four times; the command line prints it once
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # Ctrl-C reaches the embedded server too; its client must not wait for it to come back
    "PREFECT_CLIENT_MAX_RETRIES": "2",
}
WITH_SERVER = {"PREFECT_CLIENT_MAX_RETRIES": "10"}  # a server may be away for a minute


def prepare_prefect() -> None:
    """Set what Prefect reads when it is imported; a value that the user has set stays."""
    for name, value in {**QUIET, **(WITH_SERVER if os.environ.get("PREFECT_API_URL") else WITHOUT_SERVER)}.items():
        os.environ.setdefault(name, value)
