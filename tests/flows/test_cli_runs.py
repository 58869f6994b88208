import json
import threading
import time

import pytest
from click.testing import CliRunner

from flows import cli_runs
from flows.cli_checks import show_check, show_plan
from flows.cli_runs import (
    cancel_command,
    doctor_command,
    gc_command,
    logs_command,
    status_command,
    verify_command,
)
from segcore.errors import ConfigError, RunError, RunLockedError
from segcore.steps import cancel, check, doctor, garbage
from segcore.steps.check import CheckFinding
from segcore.steps.doctor import Diagnosis
from segcore.steps.garbage import Garbage
from segcore.store.lock import lock_run
from segcore.store.publish import publish
from segcore.store.steps import Step


def call(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def artifacts(tmp_path):
    folder = tmp_path / "artifacts" / "demo"
    publish(folder, Step("index", 1, "index", {}), lambda work: (work / "a.txt").write_text("whole") and None)
    (folder / "run.json").write_text(json.dumps({"format": 1, "run_id": "demo", "config": {}}))
    return tmp_path / "artifacts"


def test_status_shows_all_runs_or_one_and_says_when_there_are_none(artifacts, tmp_path):
    assert "demo  not started" in call(status_command, "--artifacts", artifacts).output
    assert call(status_command, "demo", "--artifacts", artifacts).output.startswith("demo: not started")
    assert call(status_command, artifacts / "demo").output.startswith("demo: not started")
    assert call(status_command, "--artifacts", tmp_path / "none").output.startswith("no runs in")


def test_an_unknown_run_is_an_error_with_the_nearest_name(artifacts):
    result = call(status_command, "dem", "--artifacts", artifacts)
    assert isinstance(result.exception, RunError)
    assert "did you mean demo" in str(result.exception)


def test_a_watched_run_is_shown_anew_until_nobody_works_on_it(artifacts, monkeypatch):
    monkeypatch.setattr(cli_runs, "WATCH_S", 0.05)
    lock = lock_run(artifacts / "demo")
    threading.Timer(0.3, lock.release).start()
    shown = call(status_command, "demo", "--watch", "--artifacts", artifacts).output
    assert shown.count("demo: working") >= 2
    assert shown.count("demo: not started") == 1
    assert "demo: not started" in shown.splitlines()[-1]
    assert call(status_command, "--watch", "--artifacts", artifacts).output.count("demo") == 1


@pytest.mark.parametrize(("command", "option"), [(status_command, "--watch"), (logs_command, "--follow")])
def test_leaving_by_ctrl_c_is_no_error(artifacts, monkeypatch, command, option):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    with lock_run(artifacts / "demo"):
        assert call(command, "demo", option, "--artifacts", artifacts).exit_code == 0


def test_cancel_waits_for_the_run_and_says_how_to_go_on(artifacts):
    lock = lock_run(artifacts / "demo", ["segloop", "run"])
    threading.Timer(0.3, lock.release).start()
    result = call(cancel_command, "demo", "--artifacts", artifacts)
    first, *steps, last = result.output.splitlines()
    assert result.exit_code == 0
    assert "(segloop run) to stop; waiting up to 75 s" in first
    assert steps == ["  waiting for the step at hand"]
    assert last.startswith("stopped; start the run again")
    assert (artifacts / "demo" / "CANCEL").exists()


def test_cancelling_what_nobody_works_on_says_so_and_is_no_error(artifacts):
    result = call(cancel_command, "demo", "--artifacts", artifacts)
    assert (result.exit_code, result.output.startswith("nobody works on")) == (0, True)
    assert not (artifacts / "demo" / "CANCEL").exists()


def test_a_run_that_does_not_stop_is_told_as_locked(artifacts, monkeypatch):
    monkeypatch.setattr(cancel, "patience_s", lambda _: 0.1)
    with lock_run(artifacts / "demo"):
        result = call(cancel_command, "demo", "--artifacts", artifacts)
    assert isinstance(result.exception, RunLockedError)


def test_logs_are_shown_listed_and_followed(artifacts):
    log = artifacts / "demo" / "logs" / "round_00" / "student.0123abcd.log"
    log.parent.mkdir(parents=True)
    log.write_text("one\ntwo\nthree\n")
    where = ("--artifacts", artifacts)
    assert call(logs_command, "demo", "-n", 2, *where).output == f"==> {log} <==\ntwo\nthree\n"
    assert call(logs_command, "demo", "--follow", "-n", 1, *where).output == f"==> {log} <==\nthree\n"
    assert call(logs_command, "demo", "--list", *where).output.split()[2:] == ["0.0", "kB", "round_00/student"]
    wrong = call(logs_command, "demo", "--place", "round_01", *where)
    assert isinstance(wrong.exception, RunError)
    assert "round_00/student" in str(wrong.exception)


def test_gc_says_what_goes_and_why_and_a_dry_run_removes_nothing(artifacts, monkeypatch):
    work = artifacts / "demo" / "round_00" / "student.0123abcd.work"
    work.mkdir(parents=True)
    monkeypatch.setattr(garbage, "find_garbage", lambda _: (Garbage(work, "left behind", 2_000_000),))
    dry = call(gc_command, "demo", "--dry-run", "--artifacts", artifacts)
    line = "      2.0 MB  round_00/student.0123abcd.work: left behind\n"
    assert dry.output == f"{line}      2.0 MB  in 1 files and folders would be removed\n"
    assert work.exists()
    assert call(gc_command, "demo", "--artifacts", artifacts).output.startswith(line)
    assert not work.exists()


def test_gc_refuses_while_somebody_works_on_the_run(artifacts):
    with lock_run(artifacts / "demo"):
        result = call(gc_command, "demo", "--dry-run", "--artifacts", artifacts)
    assert isinstance(result.exception, RunLockedError)


def test_verify_calls_a_whole_run_whole_and_a_damaged_one_an_error_of_the_run_folder(artifacts):
    assert call(verify_command, "demo", "--artifacts", artifacts).output.endswith("whole\n")
    (file,) = artifacts.glob("demo/index.*/a.txt")
    file.write_text("holes")
    result = call(verify_command, "demo", "--artifacts", artifacts)
    assert "damaged  index." in result.output
    assert isinstance(result.exception, RunError)
    assert result.exception.exit_code == 5
    assert file.exists()


@pytest.mark.parametrize(("severity", "exit_code"), [("ok", 0), ("note", 0), ("problem", 1)])
def test_the_doctor_fails_for_problems_only_and_prints_remedies(monkeypatch, severity, exit_code):
    monkeypatch.setattr(doctor, "examine", lambda _: [Diagnosis(severity, "something", "do this")])
    result = call(doctor_command)
    assert result.exit_code == exit_code
    assert "do this" in result.output


@pytest.mark.parametrize(
    ("findings", "exit_code"),
    [
        ([CheckFinding("ok", "a"), CheckFinding("warning", "b")], 0),
        ([CheckFinding("ok", "a"), CheckFinding("error", "c", 3), CheckFinding("error", "d", 2)], 3),
    ],
)
def test_check_ends_with_the_code_of_the_first_error(tmp_path, write_tiny, monkeypatch, capsys, findings, exit_code):
    monkeypatch.setattr(check, "check_run", lambda config, folder: findings)
    with pytest.raises(SystemExit) as stopped:
        show_check(write_tiny(tmp_path, "tiny"), (), None)
    assert stopped.value.code == exit_code
    assert len(capsys.readouterr().out.splitlines()) == len(findings)


def test_plan_prints_the_steps_of_a_run_that_is_not_there_yet(tmp_path, write_tiny, capsys):
    show_plan(write_tiny(tmp_path, "tiny"), ("loop.rounds=0",), "other")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("other: ")
    assert lines[1].split() == ["index", "new"]
    assert lines[-1].startswith("disk: ")


def test_a_wrong_config_is_refused_before_anything_is_looked_at(tmp_path, write_tiny):
    with pytest.raises(ConfigError, match=r"train\.lr"):
        show_plan(write_tiny(tmp_path, "tiny"), ("train.lr=-1",), None)
