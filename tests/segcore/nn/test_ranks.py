"""Trainings on several processes, on a CPU: the same as on one, stopped, resumed and ended together."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from segcore.config.student_schema import ConsistencyConfig, StudentConfig
from segcore.config.train_schema import AugmentConfig, TrainConfig
from segcore.errors import ConfigError
from segcore.nn import rank_processes
from segcore.nn.rank_processes import devices_of
from segcore.nn.ranks import Ranks
from segcore.process.jobs import ModelSpec, TrainJob

from .conftest import NAMES, PALETTE, placed, start_training

# without batch norm, whose statistics are those of a process's share, and without dropout
CONFIG = """
norm = dict(type="GN", num_groups=4)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", size=(32, 32), mean=[127.0] * 3, std=[60.0] * 3),
    backbone=dict(type="ResNetV1c", depth=18, base_channels=16, num_stages=4, norm_cfg=norm),
    decode_head=dict(
        type="FCNHead", in_channels=128, in_index=3, channels=8, num_convs=1, dropout_ratio=0.0, num_classes=3,
        norm_cfg=norm, loss_decode=dict(type="CrossEntropyLoss"),
    ),
)
"""
ITERATIONS = 6


@pytest.fixture
def job(tiny_job: TrainJob, tmp_path: Path) -> TrainJob:
    """A training whose crops are all labelled, so that means over halves of a batch are means over the batch."""
    (tmp_path / "small.py").write_text(CONFIG)
    augment = AugmentConfig(scale_range=(2.0, 2.0), crop_max_share=1.0)
    options = {"size": 32, "batch_size": 4, "augment": augment, "lr": 1e-4, "checkpoint_every": 2}
    return dataclasses.replace(
        tiny_job,
        model=ModelSpec(None, str(tmp_path / "small.py"), None, None, NAMES, PALETTE),
        train=tiny_job.train.model_copy(update=options),
        iterations=ITERATIONS,
        pseudo=(),
        pseudo_maps=None,
    )


def on(num: int, job: TrainJob, root: Path) -> TrainJob:
    """Return a job shared by a number of processes, with folders of its own."""
    return placed(dataclasses.replace(job, train=job.train.model_copy(update={"gpus": num})), root)


def ended(process: subprocess.Popen[str], status: int = 0) -> str:
    """Wait for a training; return what it logged."""
    _, errors = process.communicate(timeout=240)
    assert process.returncode == status, errors
    return errors


def losses(root: Path) -> list[float]:
    """Return the losses of a training by iteration."""
    lines = [json.loads(line) for line in (root / "resume" / "progress.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss"] for line in lines]


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_two_processes_train_what_one_does_and_only_the_first_writes(job: TrainJob, tmp_path: Path) -> None:
    log = ended(start_training(on(2, job, tmp_path / "two"), tmp_path / "two"))
    ended(start_training(on(1, job, tmp_path / "one"), tmp_path / "one"))
    assert "each batch shared by 2 processes" in log
    assert "Warning" not in log
    assert log.count("iteration 1/6") == 1
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    one, two = (
        torch.load(tmp_path / name / "out" / "model.pth", weights_only=True)["state_dict"] for name in ("one", "two")
    )
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=5e-5, msg=name)


def test_averaged_weights_and_consistency_are_shared_as_well(tiny_job: TrainJob, tmp_path: Path) -> None:
    student = StudentConfig(ema=0.2, consistency=ConsistencyConfig(unlabelled_batch=4, tau=0.34))
    model = dataclasses.replace(tiny_job.model, weights=None, tiny=True)
    train = tiny_job.train.model_copy(update={"batch_size": 4})
    what = {"model": model, "train": train, "student": student, "unlabelled": tiny_job.pseudo, "iterations": 3}
    ended(start_training(on(2, dataclasses.replace(tiny_job, **what), tmp_path), tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "resume" / "progress.jsonl").read_text().splitlines()]
    for line in lines:
        assert line["loss"] == pytest.approx((line["supervised"] + line["consistency"]) / 2, rel=1e-5)
    state = torch.load(max((tmp_path / "resume").glob("iteration_*.pth")), weights_only=True)
    assert {name: average["num_updates"] for name, average in state["averages"].items()} == {
        "published": 3, "ema_teacher": 3,
    }  # fmt: skip


def test_stopped_together_and_resumed_with_another_number_of_processes(job: TrainJob, tmp_path: Path) -> None:
    long = dataclasses.replace(job, iterations=40)
    process = start_training(on(2, long, tmp_path), tmp_path)
    (other,) = wait_for_child(process)
    wait_for_checkpoint(process, tmp_path)
    process.send_signal(signal.SIGTERM)
    assert "stopped after saving" in ended(process, 143)
    assert not Path(f"/proc/{other}").exists()
    assert "resuming at iteration" in ended(start_training(on(1, long, tmp_path), tmp_path))
    assert len(losses(tmp_path)) == 40


def test_when_one_is_killed_the_training_ends_as_killed_and_can_be_resumed(job: TrainJob, tmp_path: Path) -> None:
    process = start_training(on(2, dataclasses.replace(job, iterations=10_000), tmp_path), tmp_path)
    (other,) = wait_for_child(process)
    wait_for_checkpoint(process, tmp_path)
    os.kill(other, signal.SIGKILL)
    assert "process 1 of this training ended with exit code 137" in ended(process, 137)


def wait_for_checkpoint(process: subprocess.Popen[str], root: Path) -> None:
    """Wait until a training has saved a checkpoint; fail with its log if it ends before."""
    while not list((root / "resume").glob("iteration_*.pth")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)


def wait_for_child(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that a training has started, once there are any."""
    while not (found := children_of(process.pid)):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    return found


@pytest.mark.parametrize(
    ("device", "count", "there", "expected"),
    [
        ("cuda:1", 1, 0, ["cuda:1"]),
        ("cpu", 2, 4, ["cpu", "cpu"]),
        ("auto", 2, 0, ["cpu", "cpu"]),
        ("auto", 2, 4, ["cuda:0", "cuda:1"]),
        ("cuda", 2, 2, ["cuda:0", "cuda:1"]),
    ],
)
def test_each_process_has_a_gpu_or_all_have_the_cpu(
    monkeypatch: pytest.MonkeyPatch, device: str, count: int, there: int, expected: list[str]
) -> None:
    monkeypatch.setattr(rank_processes, "num_gpus", lambda: there)
    assert devices_of(device, count) == expected


@pytest.mark.parametrize(
    ("device", "there", "words"),
    [
        ("cuda:1", 4, "runtime.device names one GPU, cuda:1"),
        ("auto", 2, "torch sees 2; set train.gpus to 2"),
        ("cuda", 0, "torch sees 0; set train.gpus to 1"),
    ],
)
def test_gpus_that_are_not_there_are_not_made_up_for(
    monkeypatch: pytest.MonkeyPatch, device: str, there: int, words: str
) -> None:
    monkeypatch.setattr(rank_processes, "num_gpus", lambda: there)
    with pytest.raises(ConfigError, match=words):
        devices_of(device, 4)


def test_on_gpus_batch_norm_sees_the_whole_batch_and_keeps_its_names() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    names = list(network.state_dict())
    Ranks(0, 2, "cuda").with_common_statistics(network)
    assert isinstance(network[1], nn.SyncBatchNorm)
    assert list(copy.deepcopy(network).state_dict()) == names


@pytest.mark.parametrize("batch_size", [6, 4])
def test_a_batch_that_cannot_be_shared_is_refused(batch_size: int) -> None:
    with pytest.raises(ValueError, match=rf"a multiple of gpus, two each or more, got {batch_size} for 4 GPUs"):
        TrainConfig(iterations=1, batch_size=batch_size, gpus=4)
