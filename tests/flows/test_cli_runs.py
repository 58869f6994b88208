import json

import pytest
from click.testing import CliRunner

from flows.cli_checks import show_check, show_plan
from flows.cli_runs import doctor_command, status_command, verify_command
from segcore.errors import ConfigError, RunError
from segcore.steps import check, doctor
from segcore.steps.check import CheckFinding
from segcore.steps.doctor import Diagnosis
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
