"""Prefect inside this process, for `segloop run` without a server: quiet, and with nothing sent anywhere."""

from __future__ import annotations

import os

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_CLIENT_MAX_RETRIES": "10",
}


def prepare_prefect() -> None:
    """Set what Prefect reads when it is imported; a value that the user has set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
