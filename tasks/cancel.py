"""Cancelled in Prefect means stopped here: while a flow runs, its own state is watched.

A worker ends a flow run that is cancelled with a signal; but there may be no worker (`segloop run` with a server),
it may have died, and after the server was away it never hears of it. So the steps ask here too.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.context import refresh_global_settings_context
from prefect.exceptions import CancelledRun
from prefect.states import Cancelled

from segcore.errors import CancelledError
from segcore.steps.run import cancel_checks

logger = logging.getLogger(__name__)

POLL_S = 5.0
LEAVE_S = 10.0
LAST_RETRIES = 4  # with pauses of 2, 4, 8 and 16 s
STOP_STATES = (StateType.CANCELLING, StateType.CANCELLED)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def stops_when_cancelled(flow: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a flow's steps stop when Prefect is told to cancel it, and let it end as Cancelled, whoever cancelled it.

    A flow that was cancelled has to return the state: one that raises is Failed.
    """

    @functools.wraps(flow)
    def watched(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with watch_for_cancel():
            try:
                return flow(*args, **kwargs)
            except (CancelledError, CancelledRun) as error:
                wait_no_longer()
                return cancelled_state(error)  # type: ignore[return-value]  # Prefect takes it for the flow's state
            except Exception:
                raise
            except BaseException:  # told to end by a signal
                wait_no_longer()
                raise

    # Prefect reads the parameters' types, which are texts that mean something in the flow's own module alone
    watched.__signature__ = inspect.signature(flow, eval_str=True)  # type: ignore[attr-defined]
    return watched


def wait_no_longer() -> None:
    """Let what is still to be told to a server that is away be tried for half a minute, not for half an hour.

    Prefect's client doubles its pauses, and the run's lock is held until the last of it is said.
    """
    os.environ["PREFECT_CLIENT_MAX_RETRIES"] = str(LAST_RETRIES)
    refresh_global_settings_context()


def cancelled_state(error: BaseException) -> State[None]:
    """Return the state of what somebody stopped."""
    return Cancelled(message=str(error))


@contextlib.contextmanager
def watch_for_cancel(poll_s: float = POLL_S) -> Iterator[None]:
    """Ask Prefect every few seconds, in a thread, whether the current flow run is to be cancelled."""
    flow_run_id = runtime.flow_run.id
    if flow_run_id is None:
        yield
        return
    cancelled, left = threading.Event(), threading.Event()
    watching = threading.Thread(
        target=watch, args=(UUID(flow_run_id), cancelled, left, poll_s), name="cancel watch", daemon=True
    )
    watching.start()
    cancel_checks.append(cancelled.is_set)
    try:
        yield
    finally:
        cancel_checks.remove(cancelled.is_set)
        left.set()
        watching.join(LEAVE_S)  # a request that is under way when Python ends would abort the process


def watch(flow_run_id: UUID, cancelled: threading.Event, left: threading.Event, poll_s: float) -> None:
    """Set cancelled once the flow run is Cancelling or Cancelled; a server that is away is asked again."""
    while not left.wait(poll_s):
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(flow_run_id).state
        except Exception as error:
            logger.debug("Prefect could not be asked for the state of this flow run: %s", error)
            continue
        if state is not None and state.type in STOP_STATES:
            logger.info("cancelled in Prefect: stopping; checkpoints and finished steps are kept")
            cancelled.set()
            return
