from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from segcore.config.student_schema import ConsistencyConfig
from segcore.nn.unlabelled_data import unlabelled_loader
from segcore.process.jobs import TrainJob


@pytest.fixture
def job(tiny_job: TrainJob) -> TrainJob:
    return dataclasses.replace(tiny_job, unlabelled=tiny_job.pseudo, iterations=4)


def batches(job: TrainJob, cutmix: float = 1.0, start: int = 0) -> list[dict[str, Any]]:
    return list(unlabelled_loader(job, ConsistencyConfig(unlabelled_batch=2, cutmix=cutmix), start))


def test_three_views_show_one_crop_and_two_of_them_have_other_colours(job: TrainJob) -> None:
    for batch in batches(job):
        for weak, first, second in zip(batch["weak"], batch["strong_1"], batch["strong_2"], strict=True):
            assert weak.shape == first.shape == second.shape
            assert weak.dtype == torch.uint8
            assert max(weak.shape) <= job.train.size
    names = ("weak", "strong_1", "strong_2")
    colours = [tuple(batch[name][0].float().mean((1, 2)).tolist()) for batch in batches(job) for name in names]
    assert len(set(colours)) > len(colours) * 3 / 4  # one strong view in twelve stays as it is


def test_a_loader_started_later_gives_the_rest_of_the_same_stream(job: TrainJob) -> None:
    whole, rest = batches(job), batches(job, start=2)
    assert len(whole) == 4
    for one, two in zip(whole[2:], rest, strict=True):
        for name, tensors in one.items():
            assert all(torch.equal(first, second) for first, second in zip(tensors, two[name], strict=True))


@pytest.mark.parametrize("cutmix", [0.0, 1.0])
def test_boxes_lie_in_the_crop_and_there_are_none_without_cutmix(job: TrainJob, cutmix: float) -> None:
    boxes = torch.stack([box for batch in batches(job, cutmix) for name in ("box_1", "box_2") for box in batch[name]])
    heights, widths = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    assert bool((heights * widths > 0).all()) == (cutmix == 1.0)
    assert int(boxes.min()) >= 0
    assert int(boxes.max()) <= job.train.size
