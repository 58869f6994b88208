from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from segcore.config.label_schema import LabelConfig
from segcore.config.train_schema import AugmentConfig, TrainConfig
from segcore.errors import StepError
from segcore.process.jobs import (
    ModelSpec,
    PredictImage,
    PredictJob,
    PredictRequest,
    Sample,
    TeacherFiles,
    TrainJob,
    parse_request,
    read_predict_job,
    read_train_job,
    request_line,
    write_predict_job,
    write_train_job,
)

TRAIN = TrainJob(
    model=ModelSpec("efficientnet_lite0_upernet", None, "imagenet", 64, ("background", "can"), ((0, 0, 0), (1, 2, 3))),
    train=TrainConfig(iterations=10, size=64, augment=AugmentConfig(scale_range=(0.5, 2.0))),
    iterations=10,
    seed=3,
    ground_truth=(Sample("train/a.jpg", "/data/a.jpg"),),
    ground_truth_maps="/data/truth.arrow",
    pseudo=(Sample("unlabeled_0/ü.jpg", "/data/ü.jpg"),),
    pseudo_maps="/data/pseudo.arrow",
    init_weights=None,
    resume_dir="/run/resume",
    out_dir="/run/out",
)
TEACHERS = (TeacherFiles("/m/model.pth", "/m/model_config.py"), TeacherFiles("/n/b.pth", "/n/b.py", 0.5))
PREDICT = PredictJob(TEACHERS, 2, LabelConfig(sizes=(64, 96), flip=False))


def test_a_train_job_comes_back_equal(tmp_path: Path) -> None:
    write_train_job(tmp_path / "job.json", TRAIN)
    assert read_train_job(tmp_path / "job.json") == TRAIN


def test_a_predict_job_comes_back_equal(tmp_path: Path) -> None:
    write_predict_job(tmp_path / "job.json", PREDICT)
    assert read_predict_job(tmp_path / "job.json") == PREDICT


@pytest.mark.parametrize("small_size", [None, (256, 256), (3, 5)])
def test_a_request_is_one_line_and_comes_back_equal(small_size: tuple[int, int] | None) -> None:
    request = PredictRequest((PredictImage("test/a\nb.jpg", "/d/a.jpg", small_size),), "/out/predictions.parquet")
    line = request_line(request)
    assert line.count("\n") == 1
    assert parse_request(line) == request


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1, "seed": 1}'])
def test_a_file_that_is_no_job_is_a_step_error_naming_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(StepError, match=r"job\.json"):
        read_train_job(tmp_path / "job.json")


@pytest.mark.parametrize("line", ["", "x", "{}", '{"images": [{}], "out": "/o"}'])
def test_a_line_that_is_no_request_is_a_step_error(line: str) -> None:
    with pytest.raises(StepError, match="request"):
        parse_request(line)


def test_jobs_import_without_torch() -> None:
    code = "import sys, segcore.process.jobs; sys.exit('torch' in sys.modules or 'mmengine' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_records_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TRAIN.seed = 4  # type: ignore[misc]
