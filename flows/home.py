"""Where a worker's flow runs live, and which folders a run that came through the API may name.

SEGLOOP_ROOTS is set where the worker is started, never through the API: absolute folders, the first of which is the
home, where relative paths begin and artifacts/ lies.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from prefect import runtime

from segcore.config.roots import ROOTS, require_parameters_under_roots, roots_from_environment
from segcore.errors import ConfigError


def enter_home() -> dict[str, str]:
    """Go to the first of the roots; the pull step of every deployment in prefect.yaml.

    Prefect starts the flow in the folder that is returned, and in a temporary one without it. ConfigError when the
    worker has no roots.
    """
    home = str(worker_roots()[0])
    os.chdir(home)
    return {"directory": home}


def api_roots() -> tuple[Path, ...] | None:
    """Return the folders that this flow run may name files under; None for a run that a person started by hand.

    A run of a deployment came through the API, whoever asked for it. ConfigError when its worker has no roots.
    """
    return None if runtime.deployment.id is None else worker_roots()


def refuse_outside_roots(**parameters: str | Sequence[str] | None) -> None:
    """Raise ConfigError when this flow run came through the API and a parameter names a file outside of the roots."""
    roots = api_roots()
    if roots is not None:
        require_parameters_under_roots(parameters, roots)


def home_roots() -> tuple[Path, ...]:
    """Return the roots for a worker that is started here: SEGLOOP_ROOTS, else the current folder."""
    return roots_from_environment() or (Path.cwd().resolve(),)


def worker_roots() -> tuple[Path, ...]:
    """Return the worker's roots; ConfigError when it has none."""
    roots = roots_from_environment()
    if roots is None:
        raise ConfigError(
            f"{ROOTS} must be set where the worker is started, and is not; for example "
            f'{ROOTS}="$PWD" prefect worker start --pool segloop'
        )
    return roots
