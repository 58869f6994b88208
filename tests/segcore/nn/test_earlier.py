from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from segcore.config.label_schema import LabelConfig
from segcore.nn.earlier import EarlierFiles, EarlierHook
from segcore.nn.predictor import open_predictor
from segcore.nn.resume_files import ResumeFiles
from segcore.nn.tta import ViewSpec, one_view
from segcore.process.jobs import PredictImage, PredictJob, PredictRequest, TrainJob
from segcore.pseudo.predictions import read_predictions

from .conftest import draw, placed
from .teacher_files import teacher_files


def weights(value: float) -> nn.Module:
    """Return a network of one number."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


def kept(folder: Path, name: str) -> float:
    """Return the number in kept weights."""
    return float(torch.load(folder / name, weights_only=True)["state_dict"]["weight"])


def test_weights_on_the_way_survive_and_are_published_and_what_is_lost_is_trained_again(
    tiny_job: TrainJob, tmp_path: Path
) -> None:
    job = dataclasses.replace(placed(tiny_job, tmp_path), earlier_at=(3, 6))
    earlier, resume = EarlierFiles(job), ResumeFiles(tmp_path / "resume", "a training", 3)
    resume.folder.mkdir()
    values = iter(range(1, 11))
    hook = EarlierHook(earlier, lambda: weights(next(values)))
    for iteration in range(1, 9):
        hook.after_train_iter(None, iteration - 1)
        if iteration % 2 == 0:
            resume.save(iteration, {"model": {}})
    earlier.require_up_to(resume)
    assert resume.newest_iteration() == 8
    earlier.publish(tmp_path / "out")
    assert [kept(tmp_path / "out", f"earlier_{index}.pth") for index in range(2)] == [1, 2]  # asked for twice only

    (tmp_path / "resume" / "earlier_1.pth").write_bytes(b"torn")
    earlier.require_up_to(resume)
    assert resume.newest_iteration() == 4  # before the weights that were lost
    hook.after_train_iter(None, 5)
    earlier.publish(tmp_path / "out")
    assert kept(tmp_path / "out", "earlier_1.pth") == 3


@pytest.mark.parametrize(
    ("sizes", "middle"), [((64,), 64), ((320, 224), 224), ((256, 384, 512, 640), 384), ((1, 2, 3), 2)]
)
def test_earlier_checkpoints_look_at_the_middle_view(sizes: tuple[int, ...], middle: int) -> None:
    found = one_view(ViewSpec(sizes, True, "opencv", "fp32", "cpu"))
    assert (found.sizes, found.num_flips) == ((middle,), 1)


def mean_iou(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean IoU of two label maps over the classes in either."""
    return float(np.mean([((one == c) & (other == c)).sum() / ((one == c) | (other == c)).sum()
                          for c in range(3) if ((one == c) | (other == c)).any()]))  # fmt: skip


def predicted(job: PredictJob, root: Path, images: tuple[PredictImage, ...]) -> list:
    """Return what a job predicts of images."""
    open_predictor(job).run(PredictRequest(images, str(root / "p.parquet")), lambda done, ids: None)
    return list(read_predictions(root / "p.parquet"))


def test_agreement_of_checkpoints_is_the_mean_over_them_of_the_mean_iou_with_the_last_ones_map(tmp_path: Path) -> None:
    files = [teacher_files(tmp_path, classes=3, out=3, seed=seed) for seed in range(3)]
    images = []
    for index, (height, width) in enumerate([(64, 64), (51, 80)]):
        cv2.imwrite(str(tmp_path / f"{index}.png"), draw(index, height, width)[0])
        images.append(PredictImage(str(index), str(tmp_path / f"{index}.png")))
    label = LabelConfig(sizes=(64, 96), flip=True, resize="opencv", precision="fp32")
    job = PredictJob((files[0],), 3, label, device="cpu", earlier=tuple(files[1:]))
    found = predicted(job, tmp_path, tuple(images))

    alone = LabelConfig(sizes=(64,), flip=False, resize="opencv", precision="fp32")
    earlier = [predicted(PredictJob((one,), 3, alone, device="cpu"), tmp_path, tuple(images)) for one in files[1:]]
    for prediction, *others in zip(found, *earlier, strict=True):
        expected = np.mean([mean_iou(other.label_map[::4, ::4], prediction.label_map[::4, ::4]) for other in others])
        assert prediction.checkpoint_agreement == pytest.approx(expected)
        assert 0 < expected < 1
    without = predicted(dataclasses.replace(job, earlier=()), tmp_path, tuple(images))
    for one, other in zip(found, without, strict=True):
        assert np.array_equal(one.label_map, other.label_map)
        assert (one.agreement, other.checkpoint_agreement) == (other.agreement, None)
