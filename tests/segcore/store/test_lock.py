import fcntl
import json
import os
import subprocess
import sys
import time

import pytest

from segcore.errors import RunError, RunLockedError
from segcore.store.lock import lock_holder, lock_run, processes_with

HOLD = """
import sys
from pathlib import Path
from segcore.store.lock import lock_run
with lock_run(Path(sys.argv[1]), ["segloop", "run", "x.yaml"]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_the_second_writer_is_told_within_a_second_who_holds_the_run(tmp_path, holder):
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*"))
    began = time.monotonic()
    with pytest.raises(RunLockedError, match=rf"held by pid {holder.pid} on .* \(segloop run x\.yaml\); wait for it"):
        lock_run(tmp_path / "run")
    assert time.monotonic() - began < 1
    assert before == sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*"))
    assert holder.poll() is None


def test_the_holder_can_be_asked_for_without_disturbing_it(tmp_path, holder):
    found = lock_holder(tmp_path / "run")
    assert found is not None
    assert (found.pid, found.command) == (holder.pid, "segloop run x.yaml")
    assert processes_with(tmp_path / "run" / "LOCK") == [holder.pid]


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_a_dead_holder_frees_the_run_at_once(tmp_path, holder, end):
    getattr(holder, end)()
    holder.wait()
    assert lock_holder(tmp_path / "run") is None
    lock_run(tmp_path / "run").release()


def test_a_folder_without_a_lock_file_is_free_and_stays_as_it_is(tmp_path):
    assert lock_holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_lock_can_be_taken_again_after_its_block_and_released_twice(tmp_path):
    with lock_run(tmp_path) as lock:
        assert os.get_inheritable(lock.descriptor)
        assert lock_holder(tmp_path) is not None
    lock.release()
    assert lock_holder(tmp_path) is None


def test_a_question_about_the_holder_does_not_keep_a_writer_out(tmp_path):
    (tmp_path / "LOCK").touch()
    asking = os.open(tmp_path / "LOCK", os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    release = subprocess.Popen(["sleep", "0.1"], pass_fds=(asking,))  # asks for 0.1 s more
    os.close(asking)
    with lock_run(tmp_path):
        release.wait()


def test_a_child_that_inherits_the_descriptor_keeps_the_lock(tmp_path):
    with lock_run(tmp_path) as lock:
        child = subprocess.Popen(["sleep", "600"], pass_fds=(lock.descriptor,))
    assert lock_holder(tmp_path) is not None
    child.kill()
    child.wait()
    assert lock_holder(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"pid": "x"})])
def test_a_lock_file_nobody_can_read_still_locks(tmp_path, text):
    with lock_run(tmp_path):
        (tmp_path / "LOCK").write_text(text)
        with pytest.raises(RunLockedError, match="unknown"):
            lock_run(tmp_path)


def test_a_run_folder_that_cannot_be_written_is_a_run_error(tmp_path):
    (tmp_path / "run").write_text("a file where a folder is needed")
    with pytest.raises(RunError, match="must be writable"):
        lock_run(tmp_path / "run")
