"""Ask a person before a round, where the config wants it: a form in the Prefect UI, or `segloop approve`."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import runtime
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from segcore.records import RoundRecord
from segcore.steps.approval import approval_needed, digest_of, must_ask, question, write_approval
from segcore.steps.decide import goes_on
from segcore.steps.run import Run, note_waiting


class Answer(RunInput):
    """What the form asks for."""

    go_on: bool = Field(True, title="Start this round", description="No ends the loop on the best round so far.")
    note: str = Field("", title="Note", description="Kept with the run; the reason, if you answer no.")


def may_go_on(run: Run, history: Sequence[RoundRecord]) -> bool:
    """Return whether another round follows; where a person has to say so, the flow run is left until they have."""
    if not goes_on(run, history)[0]:
        return False
    if must_ask(run, history):
        ask(run, history)
    return goes_on(run, history)[0]


def ask(run: Run, history: Sequence[RoundRecord]) -> None:
    """Suspend the flow run until the form is answered, and note the answer; ApprovalNeeded without a deployment.

    A suspended flow run ends its process, and starts again from the top: what is done is reused, and this call
    then returns at once with the answer.
    """
    note_waiting(run, len(history))
    if runtime.deployment.id is None:
        raise approval_needed(run, history)
    form = Answer.with_initial_data(description=question(run, history))
    answer = suspend_flow_run(wait_for_input=form, key=f"round-{len(history)}-{digest_of(history)[:16]}")
    write_approval(run, history, answer.go_on, answer.note)
