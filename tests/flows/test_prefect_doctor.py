"""What `segloop doctor` says of Prefect: of a server that is set up well, of ones that are not, and of none."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import prefect
import pytest
from prefect.settings import temporary_settings

from flows.prefect_doctor import access_finding, examine_prefect, origin_finding, version_finding


@contextmanager
def little_server(status: int, origin: str | None = None, version: str = "1.0.0") -> Iterator[str]:
    """Serve one answer to everything; yield the API URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            if origin is not None:
                self.send_header("access-control-allow-origin", origin)
            self.end_headers()
            self.wfile.write(json.dumps(version).encode())

        do_OPTIONS = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_no_server_is_fine():
    with temporary_settings(restore_defaults={prefect.settings.PREFECT_API_URL}):
        assert [item.severity for item in examine_prefect()] == ["ok"]


@pytest.mark.parametrize(
    ("url", "severity", "remedy"),
    [("http://127.0.0.1:9/api", "note", "segloop up"), ("http://192.0.2.1:9/api", "problem", "unset PREFECT_API_URL")],
)
def test_a_server_that_does_not_answer_matters_where_runs_cannot_do_without(url, severity, remedy):
    with temporary_settings({"api.url": url}):
        (found,) = examine_prefect()
    assert found.severity == severity
    assert remedy in found.remedy


def test_a_server_that_lets_anybody_in_is_a_problem():
    with little_server(200) as url:
        found = access_finding(url)
    assert found.severity == "problem"
    assert "lets anybody in" in found.message
    assert "segloop setup" in found.remedy


def test_a_server_that_refuses_us_is_a_problem():
    with little_server(401) as url:
        found = access_finding(url)
    assert found.severity == "problem"
    assert "PREFECT_API_AUTH_STRING" in found.remedy


@pytest.mark.parametrize(("version", "severity"), [(prefect.__version__, "ok"), ("2.20.1", "problem")])
def test_a_server_of_another_version_is_a_problem(version, severity):
    with little_server(200, version=version) as url:
        assert version_finding(url).severity == severity


@pytest.mark.parametrize(
    ("origin", "severity"), [("*", "problem"), ("https://stranger.example", "problem"), (None, "ok")]
)
def test_a_server_that_lets_pages_of_any_origin_in_is_a_problem(origin, severity):
    with little_server(200, origin) as url:
        assert origin_finding(url).severity == severity


@pytest.mark.server
def test_a_server_that_was_set_up_here_is_well(prefect_api):
    with prefect_api.settings():
        found = list(examine_prefect())
    assert [item for item in found if item.severity == "problem"] == []
    said = " ".join(item.message for item in found)
    for expected in (f"version {prefect.__version__}", "accepts ours", "no page of another origin", "are there"):
        assert expected in said
