"""What the log tab of a flow run shows: segloop's own lines, as a lab book; Prefect's only where something is wrong."""

from __future__ import annotations

import logging

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


PAGES = api_handler()


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
        logger.handlers[:] = [*printing, PAGES]  # prefect.toml's extra_loggers attached another one
        logger.setLevel(min(book.getEffectiveLevel(), logging.INFO))
        logger.propagate = book.propagate
