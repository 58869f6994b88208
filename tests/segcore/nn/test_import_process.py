from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from segcore.config.label_schema import LabelConfig
from segcore.errors import CheckpointError, ConfigError
from segcore.nn.import_process import run
from segcore.nn.networks import build_student, model_config
from segcore.nn.teacher import Teacher, open_teachers
from segcore.process.jobs import ImportJob, ModelSpec, PredictJob, TeacherFiles

from .teacher_files import teacher_files

pytestmark = [
    pytest.mark.filterwarnings("ignore:threshold is not defined for binary:UserWarning"),
    pytest.mark.filterwarnings("ignore:For binary segmentation, we suggest:UserWarning"),
]


def imported(files: TeacherFiles, out: Path, *names: str) -> TeacherFiles:
    """Bring a checkpoint in as the loop does; return its files."""
    out.mkdir()
    run(
        ImportJob(
            files.checkpoint, files.config, names, tuple((index,) * 3 for index in range(len(names))), 64, str(out)
        )
    )
    return TeacherFiles(str(out / "model.pth"), str(out / "model_config.py"))


def opened(files: TeacherFiles) -> Teacher:
    (teacher,) = open_teachers(PredictJob((files,), None, LabelConfig()), "cpu", "fp32")
    return teacher


@pytest.mark.parametrize(("classes", "out"), [(2, 1), (2, 2), (3, 3)])
def test_an_imported_model_says_what_it_said_before(tmp_path: Path, classes: int, out: int) -> None:
    files = teacher_files(tmp_path, classes=classes, out=out, threshold=0.4 if out == 1 else None)
    before, after = opened(files), opened(imported(files, tmp_path / "in", *"abc"[:classes]))
    inputs = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert (after.num_classes, after.threshold) == (classes, 0.4 if out == 1 else 0.5)
    assert (before.fast(inputs) - after.fast(inputs)).abs().max() < 1e-5


def test_a_model_of_other_classes_is_not_imported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 outputs, one per class, got 1"):
        imported(teacher_files(tmp_path), tmp_path / "one", "a", "b", "c")
    with pytest.raises(CheckpointError, match="must hold every tensor"):
        imported(teacher_files(tmp_path, classes=2, out=2), tmp_path / "two", "a", "b", "c")


def test_a_one_channel_head_is_trained_as_a_softmax_of_both_classes(tmp_path: Path) -> None:
    spec = ModelSpec(None, teacher_files(tmp_path).config, None, 1, ("a", "b"), ((0, 0, 0), (1, 1, 1)))
    network = build_student(spec, model_config(spec, 64))
    assert (network.out_channels, network.decode_head.loss_decode.use_sigmoid) == (2, False)
    three = dataclasses.replace(spec, class_names=("a", "b", "c"), palette=((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    assert build_student(three, model_config(three, 64)).out_channels == 3
