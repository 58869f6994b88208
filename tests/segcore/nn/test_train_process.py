from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
import time
from pathlib import Path

import pytest
import torch

from segcore.process.jobs import TrainJob

from .conftest import ITERATIONS, NAMES, PALETTE, placed, start_training


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wait_for_line(path: Path, timeout_s: float = 120) -> None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if path.exists() and path.read_text().count("\n") >= 3:
            return
        time.sleep(0.02)
    raise AssertionError("the training wrote no progress")


def test_a_training_leaves_weights_a_config_and_logs(trained: Path) -> None:
    assert sorted(path.name for path in trained.iterdir()) == ["logs", "model.pth", "model_config.py"]
    assert [path.name for path in (trained / "logs").glob("events*")]
    lines = [json.loads(line) for line in (trained / "logs" / "progress.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == list(range(1, ITERATIONS + 1))
    assert set(lines[0]) == {"iteration", "num_iterations", "loss", "lr", "eta_s"}
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_the_log_is_short_and_free_of_library_warnings(trained: Path) -> None:
    errors = (trained.parent / "stderr.txt").read_text()
    assert "Warning" not in errors, errors
    assert errors.count("\n") < ITERATIONS + 10, errors
    assert (trained.parent / "stdout.txt").read_text() == ""


def test_the_weights_load_without_pickled_objects_and_name_the_classes(trained: Path) -> None:
    found = torch.load(trained / "model.pth", weights_only=True)
    assert set(found) == {"state_dict", "meta"}
    assert found["meta"]["dataset_meta"] == {"classes": list(NAMES), "palette": [list(color) for color in PALETTE]}
    assert all(torch.isfinite(value).all() for value in found["state_dict"].values())


def test_the_student_opens_in_plain_mmseg(trained: Path, tiny_job: TrainJob) -> None:
    from mmseg.apis import inference_model, init_model

    model = init_model(str(trained / "model_config.py"), str(trained / "model.pth"), device="cpu")
    assert tuple(model.dataset_meta["classes"]) == NAMES
    result = inference_model(model, tiny_job.ground_truth[1].path)
    assert tuple(result.pred_sem_seg.data.shape) == (1, 80, 60)


def test_a_training_stopped_by_sigterm_and_resumed_with_workers_ends_in_equal_bytes(
    trained: Path, tiny_job: TrainJob, tmp_path: Path
) -> None:
    job = placed(tiny_job, tmp_path)
    process = start_training(job, tmp_path)
    wait_for_line(tmp_path / "resume" / "progress.jsonl")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143, errors
    assert not (tmp_path / "out" / "model.pth").exists()
    saved = max((tmp_path / "resume").glob("iteration_*.pth"))
    assert 0 < int(saved.stem[-8:]) < ITERATIONS

    with_workers = dataclasses.replace(job, train=job.train.model_copy(update={"workers": 1}))
    process = start_training(with_workers, tmp_path)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    for name in ("model.pth", "model_config.py"):
        assert sha256(tmp_path / "out" / name) == sha256(trained / name)
    lines = [
        json.loads(line)["iteration"] for line in (tmp_path / "resume" / "progress.jsonl").read_text().splitlines()
    ]
    assert lines == list(range(1, ITERATIONS + 1))


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"device": "tpu"}, 2, "runtime.device"),
        ({"init_weights": "/nowhere/model.pth"}, 4, "/nowhere/model.pth"),
    ],
)
def test_a_job_that_cannot_run_says_why_in_one_line(
    tiny_job: TrainJob, tmp_path: Path, change: dict[str, str], status: int, words: str
) -> None:
    process = start_training(dataclasses.replace(placed(tiny_job, tmp_path), **change), tmp_path)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == status, errors
    assert words in errors.splitlines()[-1]
    assert "Traceback" not in errors
