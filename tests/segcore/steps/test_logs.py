import os
import threading

import pytest

from segcore.errors import RunError
from segcore.steps import logs
from segcore.steps.logs import followed, last_lines, newest_log, run_logs
from segcore.store.lock import lock_run


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a log, each newer than the one before."""
    ages = iter(range(100, 0, -1))

    def one(name, text):
        path = tmp_path / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        second = path.stat().st_mtime - next(ages)
        os.utime(path, (second, second))
        return path

    return one


def test_logs_are_found_by_place_and_by_what_is_above_it_the_newest_last(tmp_path, write):
    for name in ("round_00/student.0123abcd", "round_01/labels/shard_0001.0123abcd", "round_00/student.89abcdef"):
        write(name, name)
    assert [log.place for log in run_logs(tmp_path)] == [
        "round_00/student", "round_01/labels/shard_0001", "round_00/student",
    ]  # fmt: skip
    assert newest_log(tmp_path).path.name == "student.89abcdef.log"
    assert [log.num_bytes for log in run_logs(tmp_path, "round_01/")] == [35]
    assert newest_log(tmp_path, "round_01/labels").place == "round_01/labels/shard_0001"
    assert run_logs(tmp_path, "round_0") == ()


def test_a_place_without_a_log_is_an_error_that_names_those_with_one(tmp_path, write):
    with pytest.raises(RunError, match="places with logs: none yet"):
        newest_log(tmp_path)
    write("round_00/student.0123abcd", "")
    with pytest.raises(RunError, match=r"a log of final, and has none; places with logs: round_00/student"):
        newest_log(tmp_path, "final")


def test_the_last_lines_keep_a_torn_one_and_what_is_no_text(tmp_path):
    (tmp_path / "log").write_bytes(b"one\ntwo\n\xff\nfour, torn")
    assert last_lines(tmp_path / "log", 3) == ["two", "�", "four, torn"]
    assert last_lines(tmp_path / "log", 30)[0] == "one"


def test_a_log_that_nobody_writes_to_is_followed_to_its_end(tmp_path, write):
    path = write("round_00/student.0123abcd", "one\ntwo\nthree\n")
    assert list(followed(tmp_path, None, 2)) == [f"==> {path} <==", "two", "three"]


def test_without_a_log_and_without_anybody_at_work_following_is_an_error(tmp_path):
    with pytest.raises(RunError, match="none yet"):
        list(followed(tmp_path, None, 2))


def test_what_is_added_is_shown_once_and_the_next_step_under_its_own_header(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "LOOK_S", 0.01)
    lock = lock_run(tmp_path)
    lines = followed(tmp_path, None, 2)
    folder = tmp_path / "logs" / "round_00"
    first, second = folder / "student.0123abcd.log", folder / "evaluation.0123abcd.log"

    def start():
        folder.mkdir(parents=True)
        first.write_text("one\ntwo\nthree\nhalf a l")

    threading.Timer(0.1, start).start()  # it waits for the first log
    assert [next(lines), next(lines), next(lines)] == [f"==> {first} <==", "two", "three"]
    with first.open("a") as file:
        file.write("ine\n")
    assert next(lines) == "half a line"
    second.write_text("scored\n")
    assert [next(lines), next(lines)] == [f"==> {second} <==", "scored"]
    with first.open("a") as file:
        file.write("last words\n")
    later = second.stat().st_mtime + 10
    os.utime(first, (later, later))
    assert [next(lines), next(lines)] == [f"==> {first} <==", "last words"]
    lock.release()
    assert list(lines) == []
