"""What every task shares: no Prefect persistence, and a state named Reused for work that was done before."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from prefect.client.schemas.objects import State
from prefect.states import Completed

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
