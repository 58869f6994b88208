"""Trainings with everything of the student section on: killed, resumed, started from other weights."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from segcore.config.student_schema import ConsistencyConfig, StudentConfig
from segcore.nn import train_process
from segcore.nn.training import Training
from segcore.process.jobs import TrainJob

from .conftest import placed

EVERYTHING = StudentConfig(
    ema=0.9, freeze_batch_norm=True, consistency=ConsistencyConfig(unlabelled_batch=2, tau=0.4, cutmix=1.0)
)


@pytest.fixture
def job(tiny_job: TrainJob) -> TrainJob:
    """A training of four iterations with every part of the student section, on labels, pseudo-labels and a pool."""
    train = tiny_job.train.model_copy(update={"checkpoint_every": 1, "batch_size": 2})
    return dataclasses.replace(tiny_job, train=train, iterations=4, unlabelled=tiny_job.pseudo, student=EVERYTHING)


def run(job: TrainJob, root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Path]:
    """Train in this process, its signal handlers left alone; return exit status and folder."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return train_process.run(placed(job, root)), root / "out"


def weights(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return found


def lines(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "logs" / "progress.jsonl").read_text().splitlines()]


def test_a_training_with_every_part_is_resumed_to_the_bit_and_tells_its_parts(
    job: TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, whole = run(job, tmp_path / "whole", monkeypatch)
    assert status == 0
    for iteration in (3, 4):  # as if it had died while the third was saved
        (tmp_path / "whole" / "resume" / f"iteration_{iteration:08d}.pth").unlink()
    (whole / "model.pth").rename(whole / "first.pth")
    status, resumed = run(job, tmp_path / "whole", monkeypatch)
    first, second = weights(whole / "first.pth"), weights(resumed / "model.pth")
    assert status == 0
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    for line in lines(resumed):
        assert line["loss"] == pytest.approx((line["supervised"] + line["consistency"]) / 2, rel=1e-5)
        assert 0 <= line["confident"] <= 1
