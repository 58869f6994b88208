"""The poster against real HTTP servers that answer, hang, refuse or are not there."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect.settings import temporary_settings

from flows.server import free_port
from tasks.poster import Card, Pace, Place, Poster

QUICK = Pace(update_s=0.05, request_s=0.5, rest_s=0.3, flush_s=2.0)
HERE = Place("round-metrics", uuid.uuid4(), uuid.uuid4())


class Api(ThreadingHTTPServer):
    """Takes artifacts as Prefect's API does. status: of the answers. held: while set, nothing is answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 201
        self.held = threading.Event()
        self.left = threading.Event()
        self.asked: list[tuple[str, dict]] = []  # of artifacts: method and body
        self.shown: dict[str, str] = {}  # data by artifact id

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/api"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.answer()

    def do_PATCH(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.reply(404, {})  # no CSRF protection, and no events

    def answer(self) -> None:
        api: Api = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.startswith("/api/artifacts"):
            self.reply(404, {})
            return
        api.asked.append((self.command, body))
        while api.held.is_set() and not api.left.wait(0.01):
            pass
        made = str(uuid.uuid4()) if self.command == "POST" else self.path.rsplit("/", 1)[-1]
        if api.status < 300:
            api.shown[made] = body["data"]
        now = "2026-01-01T00:00:00Z"
        self.reply(api.status, {**body, "id": made, "created": now, "updated": now})

    def reply(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    with settings_for(server.url):
        yield server
    server.left.set()
    server.shutdown()
    server.server_close()


def settings_for(url: str):
    """Return Prefect's settings for a server, with the ten retries that our state changes have."""
    return temporary_settings({"api.url": url, "client.max_retries": 10, "client.csrf_support_enabled": False})


def card(text: str) -> Card:
    return Card("a card", lambda: text)


def wait_until(reached: Callable[[], bool], timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.01)


def test_a_card_is_made_once_and_then_updated_in_place(api):
    with Poster(QUICK) as poster:
        for text in ("one", "two"):
            poster.post(HERE, card(text))
            assert poster.flush()
    (made, body), (updated, _) = api.asked
    assert (made, updated) == ("POST", "PATCH")
    assert (body["key"], body["type"], body["description"]) == ("round-metrics", "markdown", "a card")
    assert (body["flow_run_id"], body["task_run_id"]) == (str(HERE.flow_run_id), str(HERE.task_run_id))
    assert list(api.shown.values()) == ["two"]


def test_another_task_run_has_a_card_of_its_own_under_the_same_key(api):
    with Poster(QUICK) as poster:
        poster.post(HERE, card("one"))
        poster.post(HERE._replace(task_run_id=uuid.uuid4()), card("two"))
    assert sorted(api.shown.values()) == ["one", "two"]


def test_of_many_updates_few_are_sent_and_the_newest_is_the_last(api):
    with Poster(Pace(update_s=0.3)) as poster:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            poster.post(HERE, card(str(time.monotonic())))
        poster.post(HERE, card("the last"))
    assert len(api.asked) <= 6
    assert list(api.shown.values()) == ["the last"]


def test_a_card_that_cannot_be_made_costs_itself_alone(api, caplog):
    with caplog.at_level(logging.DEBUG, "tasks.poster"), Poster(QUICK) as poster:
        poster.post(HERE, Card("damaged", lambda: Path("/nonexistent/quality.json").read_text()))
        poster.post(HERE._replace(key="gate-decision"), card("whole"))
    assert list(api.shown.values()) == ["whole"]
    ours = [record for record in caplog.records if record.name == "tasks.poster"]
    assert [(record.levelname, record.getMessage()) for record in ours] == [
        ("DEBUG", "card round-metrics could not be made")
    ]


def test_a_server_that_hangs_keeps_nobody_waiting_and_gets_the_newest_when_it_answers_again(api, caplog):
    api.held.set()
    with Poster(QUICK) as poster:
        started = time.monotonic()
        for number in range(1000):
            poster.post(HERE, card(str(number)))
        assert time.monotonic() - started < 0.5, "posting must not wait"
        wait_until(lambda: poster.num_failed == 2)
        api.held.clear()
        wait_until(lambda: "999" in api.shown.values())
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == ["a card for the Prefect UI could not be sent, the run goes on: ReadTimeout"]


def test_the_end_waits_for_a_server_that_hangs_no_longer_than_told(api):
    api.held.set()
    with Poster(Pace(request_s=30.0, flush_s=0.4)) as poster:
        poster.post(HERE, card("one"))
        started = time.monotonic()
    assert 0.3 < time.monotonic() - started < 2.0


def test_without_a_server_the_end_comes_at_once():
    with settings_for(f"http://127.0.0.1:{free_port()}/api"):
        started = time.monotonic()
        with Poster() as poster:
            poster.post(HERE, card("one"))
            assert not poster.flush()
        assert time.monotonic() - started < 5.0
    assert poster.num_failed >= 1


@pytest.mark.parametrize(("status", "again"), [(422, False), (403, True), (500, True)])
def test_what_the_server_refuses_is_not_sent_again_but_for_passing_troubles(api, status, again):
    api.status = status
    with Poster(QUICK) as poster:
        poster.post(HERE, card("one"))
        wait_until(lambda: poster.num_failed == 1)
        api.status = 201
        time.sleep(2 * QUICK.rest_s)
        poster.flush()
    assert list(api.shown.values()) == (["one"] if again else [])


def test_after_the_end_nothing_is_taken(api):
    with Poster(QUICK) as poster:
        pass
    poster.post(HERE, card("late"))
    assert not poster.waiting
