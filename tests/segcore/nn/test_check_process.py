import dataclasses
import json
import subprocess
import sys

import pytest
import torch

from segcore.config.train_schema import LossConfig
from segcore.nn.check_process import check
from segcore.process.jobs import CheckJob, ImportJob, ModelSpec, check_job_text, parse_check_job

NAMES, PALETTE = ("background", "red"), ((0, 0, 0), (255, 0, 0))


def job(weights=None, teacher=None, device="cpu", more=None):
    model = ModelSpec("efficientnet_lite0_upernet", None, weights, 16, NAMES, PALETTE)
    return CheckJob({"model": model, **(more or {})}, 64, teacher, device, consistency=True)


@pytest.fixture(autouse=True)
def same_devices(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # the check hides devices by this variable


def test_a_job_survives_being_sent():
    teacher = ImportJob("a.pth", "a.py", NAMES, PALETTE, 64, "")
    assert parse_check_job(check_job_text(job("w.pth", teacher))) == job("w.pth", teacher)


def test_a_model_that_can_be_built_is_told_by_size():
    device, model = check(job())
    assert (device["severity"], model["severity"]) == ("ok", "ok")
    assert model["message"].startswith("model: 3.")


def test_the_check_tells_who_shares_a_training_and_when_there_are_too_few_gpus():
    (device, *_) = check(dataclasses.replace(job(), gpus=2))
    assert device["message"] == "device: cpu, each batch of a training shared by 2 processes"
    (device,) = check(dataclasses.replace(job(device="cuda"), gpus=2))
    assert (device["severity"], device["exit_code"]) == ("error", 2)
    assert "train.gpus is 2, and torch sees 0" in device["message"]


def test_every_model_is_tried_and_one_with_several_outputs_is_refused_for_consistency_training():
    pidnet = ModelSpec("pidnet_small", None, None, None, NAMES, PALETTE, tiny=True)
    _, model, grown = check(job(more={"student.growing[0]": pidnet}))
    assert model["severity"] == "ok"
    assert (grown["severity"], grown["exit_code"]) == ("error", 2)
    assert "student.consistency needs" in grown["message"]


def test_a_head_that_cannot_do_what_the_loss_asks_is_told_before_training():
    pidnet = ModelSpec("pidnet_small", None, None, None, NAMES, PALETTE, tiny=True)
    asked = dataclasses.replace(job(), models={"model": pidnet}, consistency=False, loss=LossConfig(ohem=0.7))
    _, model = check(parse_check_job(check_job_text(asked)))
    assert (model["severity"], model["exit_code"]) == ("error", 2)
    assert "train.loss.ohem cannot be used with decode_head: EdgePIDHead" in model["message"]


def test_weights_of_another_network_are_a_checkpoint_error(tmp_path):
    torch.save({"state_dict": {"fc.weight": torch.zeros(3, 3)}}, tmp_path / "other.pth")
    _, model = check(job(str(tmp_path / "other.pth")))
    assert (model["severity"], model["exit_code"]) == ("error", 4)


def test_a_teacher_with_the_wrong_config_is_told_beside_the_model(tmp_path):
    torch.save({"state_dict": {"fc.weight": torch.zeros(3, 3)}}, tmp_path / "teacher.pth")
    (tmp_path / "teacher.py").write_text("model = 3\n")
    given = ImportJob(str(tmp_path / "teacher.pth"), str(tmp_path / "teacher.py"), NAMES, PALETTE, 64, "")
    _, model, teacher = check(job(teacher=given))
    assert model["severity"] == "ok"
    assert (teacher["severity"], teacher["exit_code"]) == ("error", 2)
    assert "must have model=dict" in teacher["message"]


def test_a_device_that_is_not_there_ends_the_check():
    (device,) = check(job(device="cuda"))
    assert (device["severity"], device["exit_code"]) == ("error", 2)


def test_the_program_answers_with_one_line_of_json():
    command = [sys.executable, "-m", "segcore.nn.check_process"]
    done = subprocess.run(command, input=check_job_text(job()), capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert [item["severity"] for item in json.loads(line)["findings"]] == ["ok", "ok"]
