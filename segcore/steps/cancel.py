"""Asking whoever works on a run to stop, and waiting until that is done. Standard library only, as status."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from segcore.errors import RunError, RunLockedError
from segcore.steps.status import config_of, run_status
from segcore.store.layout import RunLayout
from segcore.store.lock import Holder, lock_holder, locked_message

LOOK_S = 0.2
SPARE_S = 15.0  # on top of the grace time: until the request is seen, and until the owner has tidied up
USUAL_GRACE_S = 60.0  # where the config cannot be read


def request_cancel(run_dir: Path) -> Holder | None:
    """Write the CANCEL file for whoever works on a run, and return who that is; None, and no file, when nobody does."""
    holder = lock_holder(run_dir)
    if holder is None:
        return None
    path = RunLayout(run_dir).cancel_file
    try:
        path.touch()
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror}); make room or mend permissions, or end {holder}"
        ) from error
    return holder


def patience_s(run_dir: Path) -> float:
    """Return how long a run may take to stop: its grace time, and a little."""
    try:
        return float(config_of(run_dir)["runtime"]["grace_s"]) + SPARE_S
    except (KeyError, TypeError, ValueError):
        return USUAL_GRACE_S + SPARE_S


def wait_until_free(run_dir: Path, timeout_s: float) -> Iterator[str]:
    """Yield what is waited for, whenever that changes, until nobody works on a run; RunLockedError after timeout_s."""
    end = time.monotonic() + timeout_s
    told = ""
    while lock_holder(run_dir) is not None:
        if time.monotonic() >= end:
            raise RunLockedError(
                f"{locked_message(run_dir)}. It was asked to stop {timeout_s:g} s ago and has not; the request stays, "
                "and is seen at the end of the step at the latest"
            )
        text = waited_for(run_dir)
        if text != told:
            yield text
            told = text
        time.sleep(LOOK_S)


def waited_for(run_dir: Path) -> str:
    """Return the steps that a run is at, as far as its events tell."""
    return ", ".join(run_status(run_dir).current) or "the step at hand"
