"""Trainings with everything of the student section on: resumed, averaged, frozen, started from other weights."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from segcore.config.student_schema import ConsistencyConfig, StudentConfig
from segcore.nn import train_process
from segcore.nn.networks import build_student, model_config
from segcore.process.jobs import TrainJob

from .conftest import placed

CONSISTENCY = ConsistencyConfig(unlabelled_batch=2, tau=0.34, cutmix=1.0)
EVERYTHING = StudentConfig(ema=0.2, freeze_batch_norm=True, consistency=CONSISTENCY)
Weights = dict[str, torch.Tensor]


@pytest.fixture(autouse=True, scope="module")
def signals_left_alone() -> Iterator[None]:
    """Keep trainings in this process from taking pytest's own signals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "signal", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def job(tiny_job: TrainJob) -> TrainJob:
    """A training of four iterations with every part of the student section, on labels, pseudo-labels and a pool."""
    train = tiny_job.train.model_copy(update={"checkpoint_every": 1, "batch_size": 2, "keep_checkpoints": 4})
    model = dataclasses.replace(tiny_job.model, weights=None, tiny=True)
    return dataclasses.replace(
        tiny_job, model=model, train=train, iterations=4, unlabelled=tiny_job.pseudo, student=EVERYTHING
    )


@pytest.fixture(scope="module")
def whole(job: TrainJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that training, never stopped."""
    root = tmp_path_factory.mktemp("whole")
    assert train_process.run(placed(job, root)) == 0
    return root


def weights(root: Path) -> Weights:
    found: Weights = torch.load(root / "out" / "model.pth", weights_only=True)["state_dict"]
    return found


def resume_file(root: Path, iteration: int) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(root / "resume" / f"iteration_{iteration:08d}.pth", weights_only=True)
    return found


def equal(first: Weights, second: Weights) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_log_tells_the_parts_of_the_loss(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / "out" / "logs" / "progress.jsonl").read_text().splitlines()]
    assert len(lines) == 4
    for line in lines:
        assert line["loss"] == pytest.approx((line["supervised"] + line["consistency"]) / 2, rel=1e-5)
        assert 0 <= line["confident"] <= 1
    assert any(line["consistency"] > 0 for line in lines)


def test_the_weights_that_are_published_are_the_averaged_ones(whole: Path) -> None:
    state = resume_file(whole, 4)
    assert equal(weights(whole), state["averages"]["published"]["model"])
    assert not equal(weights(whole), state["model"])
    assert not equal(weights(whole), state["averages"]["ema_teacher"]["model"])


def test_frozen_batch_norm_is_that_of_the_backbone(whole: Path, job: TrainJob) -> None:
    torch.manual_seed(job.seed)
    start = build_student(job.model, model_config(job.model, job.train.size)).state_dict()
    norms = [name.removesuffix("running_mean") for name in start if name.endswith("running_mean")]
    end = resume_file(whole, 4)["model"]
    for norm in norms:
        for part in ("running_mean", "running_var", "weight", "bias"):
            assert torch.equal(start[norm + part], end[norm + part]) == norm.startswith("backbone."), norm + part


def test_a_training_that_died_is_resumed_to_the_bit(whole: Path, job: TrainJob, tmp_path: Path) -> None:
    shutil.copytree(whole / "resume", tmp_path / "resume")
    for iteration in (3, 4):  # as if it had died while the third was saved
        (tmp_path / "resume" / f"iteration_{iteration:08d}.pth").unlink()
    assert train_process.run(placed(job, tmp_path)) == 0
    assert equal(weights(whole), weights(tmp_path))
    for name in ("published", "ema_teacher"):
        states = [resume_file(root, 4)["averages"][name] for root in (whole, tmp_path)]
        assert states[0]["num_updates"] == states[1]["num_updates"] == 4
        assert equal(states[0]["model"], states[1]["model"])


def test_a_student_that_starts_from_its_teacher_has_the_teachers_weights(
    whole: Path, job: TrainJob, tmp_path: Path
) -> None:
    train = job.train.model_copy(update={"lr": 1e-12, "warmup_iterations": 0, "weight_decay": 0.0})
    teachers = {"init_weights": str(whole / "out" / "model.pth"), "student": StudentConfig(), "unlabelled": ()}
    started = dataclasses.replace(job, train=train, iterations=1, **teachers)
    assert train_process.run(placed(started, tmp_path)) == 0
    teacher, student = weights(whole), weights(tmp_path)
    for name, value in teacher.items():
        if value.dtype.is_floating_point and "running" not in name:
            torch.testing.assert_close(student[name], value, atol=1e-9, rtol=1e-6)
