"""What an automation asks for when a flow run's heartbeats stop: is it dead, or only slow?"""

from __future__ import annotations

from prefect import flow

from tasks.crashed import mark_crashed_runs
from tasks.lab_book import lab_book


@flow(name="mark-crashed", flow_run_name="is {flow_run_id} alive?")
def mark_crashed(flow_run_id: str) -> bool:
    """Mark a flow run as Crashed if nobody holds the lock of its run; leave it alone if somebody does.

    Args:
        flow_run_id: Id of a pseudo-label-loop flow run that Prefect has heard nothing of for a while.
    """
    with lab_book():  # says why a run is left alone
        return bool(mark_crashed_runs(only=flow_run_id))
