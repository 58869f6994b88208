"""What the log tab of a flow run shows: segloop's own lines, as a lab book; Prefect's only where something is wrong."""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator
from uuid import UUID

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

OURS = ("segcore", "tasks")
PREFECTS = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")


def in_a_run(record: logging.LogRecord) -> bool:
    """Return whether a record belongs to a flow run: Prefect warns of others, e.g. from threads of a library."""
    return hasattr(record, "flow_run_id") or TaskRunContext.get() is not None or FlowRunContext.get() is not None


def api_handler() -> APILogHandler:
    """Return a handler that sends what belongs to a flow run to Prefect, debug lines left out."""
    handler = APILogHandler(logging.INFO)
    handler.addFilter(in_a_run)
    return handler


class WholeRunHandler(APILogHandler):
    """Sends what subflows log to the flow run that began them too, so that its log tab tells the whole story."""

    whole: UUID | None = None  # the flow run that tells all of it

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record of a subflow, or of one of its tasks, once more."""
        if self.whole is not None and flow_run_of_now() not in (None, self.whole):
            again = copy.copy(record)
            again.flow_run_id = self.whole
            super().emit(again)


def flow_run_of_now() -> UUID | None:
    """Return the id of the flow run whose code or task is running; None outside of flow runs."""
    task_context, flow_context = TaskRunContext.get(), FlowRunContext.get()
    if task_context is not None:
        return task_context.task_run.flow_run_id
    return None if flow_context is None or flow_context.flow_run is None else flow_context.flow_run.id


PAGES = api_handler()
WHOLE_RUN = WholeRunHandler(logging.INFO)


@contextlib.contextmanager
def lab_book() -> Iterator[None]:
    """Send log lines to Prefect for the block of a flow; it tells what its subflows say as well.

    All of it has arrived when the block ends: whoever sees the flow run's final state can read how it ended.
    """
    open_lab_book()
    WHOLE_RUN.whole = flow_run_of_now()
    try:
        yield
    finally:
        WHOLE_RUN.whole = None
        PAGES.flush()  # of all handlers, for 5 s at most where the server is away


def open_lab_book() -> None:
    """Send segloop's log lines to Prefect, each once, and quiet what Prefect says of every run. May be repeated.

    Handlers that print stay as they are: the command line's, or none under a worker.
    """
    for name in PREFECTS:
        logger = logging.getLogger(name)
        logger.setLevel(max(logging.WARNING, logger.getEffectiveLevel()))
    book = logging.getLogger(OURS[0])
    printing = [handler for handler in book.handlers if not isinstance(handler, APILogHandler)]
    for name in OURS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [*printing, PAGES, WHOLE_RUN]  # prefect.toml's extra_loggers attached another one
        logger.setLevel(min(book.getEffectiveLevel(), logging.INFO))
        logger.propagate = book.propagate
