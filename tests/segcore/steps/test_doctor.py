from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from segcore.steps import doctor
from segcore.steps.doctor import (
    library_findings,
    model_libraries,
    opencv_wheels,
    packages,
    run_findings,
    runs,
    unmet,
)
from segcore.steps.status import RunStatus
from segcore.store.lock import Holder, lock_run


def status(**fields):
    given = {
        "run_id": "demo", "folder": Path("artifacts/demo"), "state": "finished", "holder": None, "rounds": (),
        "current": (), "training": None, "final_shards": None, "refit": False, "num_quarantined": 0, "num_set_aside": 0,
        "last_error": None, "stop_reason": None, "winner_index": None, "changed": datetime(2026, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    return RunStatus(**{**given, **fields})


@pytest.mark.parametrize(
    ("requirement", "problem"),
    [
        ("pytest>=1", None),
        ("pytest<1", "pytest must be <1, and is "),
        ("no-such-package-at-all>=1", "no-such-package-at-all must be installed, and is not"),
    ],
)
def test_a_package_outside_its_bounds_is_named_with_both(requirement, problem):
    found = unmet(Requirement(requirement))
    assert found is None if problem is None else found is not None and found.startswith(problem)


def test_the_tested_environment_has_every_package_in_its_bounds():
    assert [item.severity for item in packages()] == ["ok"]


def test_a_missing_bound_of_fastapi_would_be_a_problem_with_a_remedy(monkeypatch):
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["fastapi<0.1", 'pytest>=999; extra == "dev"'])
    (found,) = packages()
    assert found.severity == "problem"
    assert "fastapi must be <0.1" in found.message
    assert "pip install" in found.remedy


def test_opencv_packages_of_two_versions_are_a_problem_with_the_command_that_mends_it(monkeypatch):
    assert list(opencv_wheels()) == []
    versions = {"opencv-python": "4.13.0.92", "opencv-python-headless": "5.0.0.93", "opencv-contrib-python": None}

    def version(name):
        if versions.get(name) is None:
            raise doctor.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(doctor.metadata, "version", version)
    (found,) = opencv_wheels()
    assert found.severity == "problem"
    assert "opencv-python 4.13.0.92, opencv-python-headless 5.0.0.93" in found.message
    assert found.remedy.endswith("opencv-python==5.0.0.93 opencv-python-headless==5.0.0.93")


@pytest.mark.parametrize(
    ("found", "severities"),
    [
        ({"errors": [], "devices": ["cpu with 2 cores"], "weights": {"a": "/a.pth", "b": None}}, ["ok", "ok"]),
        (
            {"errors": [], "devices": ["cpu with 2 cores"], "weights": {"efficientnet_lite0_upernet": None}},
            ["ok", "problem"],
        ),
        ({"errors": [{"what": "mmseg", "error": "ImportError: x"}], "devices": [], "weights": {}}, ["problem"]),
    ],
)
def test_what_the_child_could_not_do_is_a_problem(found, severities):
    assert [item.severity for item in library_findings(found)] == severities


def test_a_child_that_dies_is_a_problem_and_no_crash(monkeypatch, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'Illegal instruction' >&2\nexit 132\n")
    program.chmod(0o755)
    monkeypatch.setattr(doctor.sys, "executable", str(program))
    (found,) = model_libraries()
    assert found.severity == "problem"
    assert "exit code 132: Illegal instruction" in found.message


@pytest.mark.parametrize(
    ("fields", "severity", "text"),
    [
        ({"state": "interrupted"}, "note", "was interrupted"),
        ({"state": "stopped", "last_error": "StepError: full disk\nmore"}, "note", "stopped: StepError: full disk"),
        ({"num_set_aside": 2}, "note", "2 damaged files"),
        ({"state": "working", "holder": Holder(1, "another host", "segloop", "today")}, "ok", "another host"),
    ],
)
def test_a_run_left_behind_is_told_with_its_remedy(fields, severity, text):
    (found,) = run_findings(status(**fields))
    assert found.severity == severity
    assert text in found.message
    assert found.remedy or severity == "ok"


def test_a_finished_run_needs_no_words():
    assert list(run_findings(status())) == []


def test_a_lock_held_by_processes_whose_owner_is_gone_is_a_problem(tmp_path, monkeypatch):
    with lock_run(tmp_path / "demo"):
        monkeypatch.setattr(doctor, "processes_with", lambda _: [4321])
        problem, *_ = runs(tmp_path)
    assert problem.severity == "problem"
    assert "whose owner" in problem.message
    assert "4321" in problem.message
