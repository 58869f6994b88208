"""What every task shares: no Prefect persistence, and states named for what happened: Reused, Cancelled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed

from segcore.errors import CancelledError, ConfigError, DataError, RunError
from segcore.records import StepOutput

LABEL_RETRIES = 2
LABEL_RETRY_DELAY_S = 10
NEVER_RETRIED = (ConfigError, DataError, RunError, CancelledError)  # the same input fails the same way


class HasOutput(Protocol):
    """A record of a published step."""

    @property
    def output(self) -> StepOutput:
        """Return where the step lies and whether it was reused."""


Record = TypeVar("Record", bound=HasOutput)
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def step(**options: Any) -> Callable[[Callable[Arguments, Result]], Task[Arguments, Result]]:
    """Make a function a task of segloop: the run folder is its memory, not Prefect. options: of prefect.task."""

    def made(function: Callable[Arguments, Result]) -> Task[Arguments, Result]:
        return task(cache_policy=NO_CACHE, persist_result=False, **options)(ends_cancelled(function))

    return made


def ends_cancelled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a task that was told to stop end as Cancelled instead of Failed; its future raises CancelledRun."""

    @functools.wraps(function)
    def ending(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except CancelledError as error:
            return Cancelled(message=str(error))  # type: ignore[return-value]  # Prefect takes it for the task's state

    return ending


def shown(record: Record) -> Record | State[Record]:
    """Return a record as the task's result: as a state named Reused when nothing had to be done.

    Futures unwrap the state, so tasks are always submitted and read with .result(); never called directly.
    """
    return Completed(name="Reused", data=record) if record.output.reused else record


def worth_retrying(task: Any, task_run: Any, state: Any) -> bool:
    """Return whether a failed task run may go better a second time; Prefect asks before each retry."""
    del task, task_run
    try:
        state.result(raise_on_failure=True)
    except NEVER_RETRIED:
        return False
    except Exception:
        return True
    return True
