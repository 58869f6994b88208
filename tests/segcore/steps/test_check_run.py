import json

import pytest

from segcore.config.load import load_config
from segcore.steps import check
from segcore.steps.check import CheckFinding, ask_child, check_job, check_run
from segcore.steps.run import run_folder
from segcore.store.lock import lock_run
from segcore.store.run_file import open_run_file

MODEL_OK = CheckFinding("ok", "model: fits")


@pytest.fixture
def checked(tmp_path, write_tiny, monkeypatch):
    """Return a function (*overrides) that checks the tiny config without loading torch."""
    path = write_tiny(tmp_path, "tiny")
    monkeypatch.setattr(check, "ask_child", lambda job: iter([MODEL_OK]))

    def run(*overrides):
        config = load_config(path, overrides)
        return check_run(config, run_folder(config))

    return run


def errors(findings):
    return [(item.message, item.exit_code) for item in findings if item.severity == "error"]


def test_a_sound_run_has_no_errors_and_nothing_is_written(tmp_path, checked):
    findings = checked()
    assert errors(findings) == []
    assert MODEL_OK in findings
    assert findings[-1].message == ("data: 6 train, 12 val, 8 unlabeled_0, 4 test; classes background, red, green")
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.parametrize(
    ("overrides", "text", "exit_code"),
    [
        (["model.preset=efficientnet"], "model.preset must be one of", 2),
        (["model.preset=null", "model.config=/nowhere/model.py"], "model.config must be a file", 2),
        (["model.weights=/nowhere/weights.pth"], "model.weights: weights /nowhere/weights.pth: there is no such", 4),
        (["model.weights=nobody/nothing"], "`hf download nobody/nothing --local-dir nothing`", 4),
        (
            ["model.preset=swin_tiny_upernet", "model.weights=imagenet"],
            "curl -LO https://mmassets.onedl.ai/mmsegmentation/v0.5/pretrain/swin/swin_tiny_patch4",
            4,
        ),
        (
            ["model.teacher={checkpoint: /nowhere/a.pth, config: /nowhere/a.py, trained_on: []}"],
            "model.teacher.checkpoint must be a file",
            4,
        ),
        (["filter.policy=fixed", "filter.tau={rad: 0.5}"], "did you mean 'red'", 2),
        (["filter.policy=fixed", "filter.tau={red: 0.5}"], "must name every class", 2),
        (["filter.policy=calibrated", "filter.target_precision={red: 0.5}"], "must name every class", 2),
        (["train.loss.class_weights={rad: 2.0}"], "train.loss.class_weights names the class 'rad'", 2),
        (["runtime.min_free_gb=1000000000"], "GB free", 9),
        (["data.train.images=/nowhere"], "/nowhere", 3),
        (["roles.min_gate_images=100"], "roles.min_gate_images asks for 100", 3),
    ],
)
def test_a_wrong_field_or_file_is_one_error_with_its_class_of_exit_code(checked, overrides, text, exit_code):
    found = errors(checked(*overrides))
    assert text in found[0][0]
    assert found[0][1] == exit_code


def test_an_annotation_file_that_is_not_json_keeps_the_model_from_being_tried_and_says_so(tmp_path, checked):
    (tmp_path / "data" / "train.json").write_text('{"images": [')
    findings = checked()
    assert [code for _, code in errors(findings)] == [3]
    assert any("model and weights were not tried" in item.message for item in findings)


def test_a_held_run_and_a_changed_config_are_warnings(tmp_path, checked):
    path = tmp_path / "tiny.yaml"
    config = load_config(path)
    folder = run_folder(config)
    open_run_file(folder, "tiny", config.model_dump(mode="json"))
    with lock_run(folder):
        findings = checked("train.lr=0.5")
    warnings = [item.message for item in findings if item.severity == "warning"]
    assert any("is held by pid" in message for message in warnings)
    assert any("train.lr: 0.003 -> 0.5" in message and "--update" in message for message in warnings)
    assert errors(findings) == []


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("cat >/dev/null; echo noise; echo '{answer}'", CheckFinding("error", "no", 4)),
        ("cat >/dev/null; echo 'Segmentation fault' >&2; exit 139", "exit code 139: Segmentation fault"),
        ("cat >/dev/null; echo '[]'; exit 0", "exit code 0"),
    ],
)
def test_the_child_is_believed_when_it_answers_and_blamed_when_it_does_not(
    tmp_path, write_tiny, monkeypatch, script, expected
):
    answer = json.dumps({"findings": [{"severity": "error", "message": "no", "exit_code": 4}]})
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\n" + script.replace("{answer}", answer) + "\n")
    program.chmod(0o755)
    monkeypatch.setattr(check.sys, "executable", str(program))
    config = load_config(write_tiny(tmp_path, "tiny"))
    dataset = check.load_dataset(config)
    (found,) = ask_child(check_job(config, dataset.class_map))
    assert found.severity == "error"
    assert found == expected if isinstance(expected, CheckFinding) else expected in found.message
