import json
import subprocess
import sys
import threading
import time

import pytest

from segcore.errors import RunError, RunLockedError
from segcore.steps import cancel
from segcore.steps.cancel import patience_s, request_cancel, wait_until_free
from segcore.store.events import append_event
from segcore.store.lock import lock_run

# a run that is at a step until it sees CANCEL, and then tidies up for a while. sys.argv: folder, seconds
WORKER = """
import sys, time
from pathlib import Path
from segcore.store.events import append_event
from segcore.store.lock import lock_run
folder = Path(sys.argv[1])
with lock_run(folder):
    append_event(folder, "opened", update=False)
    append_event(folder, "step_started", place="round_00/student", kind="train", key="0")
    (folder / "ready").touch()
    while not (folder / "CANCEL").exists():
        time.sleep(0.02)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def worker(tmp_path):
    folder = tmp_path / "demo"
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(folder), "0.5"])
    while not (folder / "ready").exists():
        assert process.poll() is None
        time.sleep(0.02)
    yield folder, process
    process.kill()
    process.wait()


def test_a_working_run_is_asked_to_stop_and_waited_for_with_what_it_is_at(worker):
    folder, process = worker
    holder = request_cancel(folder)
    assert holder is not None
    assert holder.pid == process.pid
    assert list(wait_until_free(folder, 30)) == ["round_00/student"]
    assert process.wait(10) == 0


def test_nobody_is_asked_where_nobody_works(tmp_path):
    folder = tmp_path / "demo"
    lock_run(folder).release()
    assert request_cancel(folder) is None
    assert not (folder / "CANCEL").exists()


def test_a_run_that_does_not_stop_in_time_is_an_error_naming_its_holder_and_the_request_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(cancel, "LOOK_S", 0.02)
    folder = tmp_path / "demo"
    with lock_run(folder, ["segloop", "run", "x.yaml"]):
        append_event(folder, "opened", update=False)
        assert request_cancel(folder) is not None
        steps = wait_until_free(folder, 0.1)
        assert next(steps) == "the step at hand"
        with pytest.raises(RunLockedError, match=r"segloop run x\.yaml.*0\.1 s ago.*the request stays"):
            next(steps)
    assert (folder / "CANCEL").exists()


def test_a_step_that_begins_while_waiting_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(cancel, "LOOK_S", 0.02)
    folder = tmp_path / "demo"
    lock = lock_run(folder)
    append_event(folder, "step_started", place="index", kind="index", key="0")
    steps = wait_until_free(folder, 30)
    assert next(steps) == "index"
    append_event(folder, "step_done", place="index", kind="index", folder="index.0", seconds=1.0)
    append_event(folder, "step_started", place="round_00/student", kind="train", key="0")
    assert next(steps) == "round_00/student"
    threading.Timer(0.1, lock.release).start()
    assert list(steps) == []


def test_a_request_that_cannot_be_written_names_who_works_there(tmp_path):
    folder = tmp_path / "demo"
    with lock_run(folder):
        (folder / "CANCEL").symlink_to(tmp_path / "no such folder" / "file")
        with pytest.raises(RunError, match=r"CANCEL cannot be written .*or end pid"):
            request_cancel(folder)


@pytest.mark.parametrize(
    ("config", "seconds"),
    [({"runtime": {"grace_s": 5}}, 20), ({"runtime": {}}, 75), ({"runtime": {"grace_s": "x"}}, 75), (None, 75)],
)
def test_patience_is_the_runs_grace_time_and_some_seconds(tmp_path, config, seconds):
    if config is not None:
        (tmp_path / "run.json").write_text(json.dumps({"config": config}))
    assert patience_s(tmp_path) == seconds
