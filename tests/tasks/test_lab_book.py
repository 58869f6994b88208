"""Log lines on their way to Prefect: what its API handler is given, without a server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from prefect.logging.handlers import APILogHandler, set_api_log_sink

from tasks.lab_book import OURS, PREFECTS, open_lab_book

RUN = {"flow_run_id": "1b4e28ba-2fa1-11d2-883f-0016d3cca427"}


@pytest.fixture
def sent() -> Iterator[list[str]]:
    """Return the messages that are sent to Prefect; loggers are put back afterwards."""
    loggers = [logging.getLogger(name) for name in (*OURS, *PREFECTS)]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    messages: list[str] = []
    set_api_log_sink(lambda log: messages.append(log["message"]))
    yield messages
    set_api_log_sink(None)
    for logger, handlers, level, propagate in before:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_a_line_is_sent_once_however_often_the_book_is_opened_and_whoever_attached_a_handler(sent):
    logging.getLogger("segcore").addHandler(APILogHandler())  # as extra_loggers in prefect.toml does
    for _ in range(3):
        open_lab_book()
    logging.getLogger("segcore.steps.decide").info("round 0", extra=RUN)
    logging.getLogger("tasks.cancel").info("cancelled", extra=RUN)
    assert sent == ["round 0", "cancelled"]


def test_lines_of_no_run_are_neither_sent_nor_warned_of(sent):
    open_lab_book()
    thread = threading.Thread(target=logging.getLogger("segcore.process").warning, args=("from a thread",))
    thread.start()
    thread.join()
    assert sent == []


def test_debug_lines_stay_on_the_terminal(sent):
    printed: list[str] = []
    terminal = logging.Handler()
    terminal.emit = lambda record: printed.append(record.getMessage())
    book = logging.getLogger("segcore")
    book.handlers[:] = [terminal]
    book.setLevel(logging.DEBUG)
    open_lab_book()
    logging.getLogger("segcore.store").debug("detail", extra=RUN)
    logging.getLogger("tasks.poster").info("line", extra=RUN)
    assert (printed, sent) == (["detail", "line"], ["line"])


@pytest.mark.parametrize(("level", "kept"), [(logging.INFO, logging.WARNING), (logging.CRITICAL, logging.CRITICAL)])
def test_prefect_is_quieter_than_info_and_never_louder_than_it_was(sent, level, kept):
    for name in PREFECTS:
        logging.getLogger(name).setLevel(level)
    open_lab_book()
    assert {logging.getLogger(name).level for name in PREFECTS} == {kept}
