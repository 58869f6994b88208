from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from segcore.config.train_schema import AugmentConfig, StrongConfig
from segcore.data.label_maps import write_label_maps
from segcore.errors import DataError
from segcore.nn.decoded_cache import DecodedCache
from segcore.nn.sample_source import SampleSource
from segcore.nn.train_data import train_loader, train_set
from segcore.process.jobs import TrainJob


def inputs_of(job: TrainJob, start: int = 0) -> list[torch.Tensor]:
    return [image for batch in train_loader(job, start) for image in batch["inputs"]]


def batches_of(job: TrainJob, start: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [
        (image, sample.gt_sem_seg.data)
        for batch in train_loader(job, start)
        for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True)
    ]


def test_batches_do_not_depend_on_the_order_the_samples_are_listed_in(tiny_job: TrainJob) -> None:
    turned = dataclasses.replace(tiny_job, ground_truth=tiny_job.ground_truth[::-1], pseudo=tiny_job.pseudo[::-1])
    first, other = inputs_of(tiny_job), inputs_of(turned)
    assert len(first) == tiny_job.iterations * tiny_job.train.batch_size
    assert all(torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_a_loader_started_later_gives_the_rest_of_the_same_stream(tiny_job: TrainJob) -> None:
    whole, rest = inputs_of(tiny_job), inputs_of(tiny_job, start=7)
    assert all(torch.equal(one, two) for one, two in zip(whole[7 * 3 :], rest, strict=True))


def test_with_every_augmentation_on_samples_depend_on_neither_workers_nor_where_training_started(
    tiny_job: TrainJob,
) -> None:
    strong = StrongConfig(colour_jitter=0.8, grey=0.2, blur=0.5, cutout=0.5, cutmix=0.5)
    augment = AugmentConfig(rotate_90=0.5, copy_paste=1.0, blur=0.5, strong=strong)
    cv2.setNumThreads(4)
    cv2.resize(np.zeros((999, 999, 3), np.uint8), (2999, 2999))  # starts OpenCV's threads, which a fork does not copy
    alone, two = (
        dataclasses.replace(tiny_job, train=tiny_job.train.model_copy(update={"augment": augment, "workers": workers}))
        for workers in (0, 2)
    )
    assert train_set(alone).augmentation.bank is not None
    whole, rest = batches_of(alone), batches_of(two, start=4)
    assert len(whole) == tiny_job.iterations * tiny_job.train.batch_size
    for (image, label_map), (other_image, other_map) in zip(whole[4 * 3 :], rest, strict=True):
        assert torch.equal(image, other_image)
        assert torch.equal(label_map, other_map)


@pytest.mark.parametrize("max_bytes", [0, 10**9])
def test_large_images_are_reduced_alike_with_and_without_room_to_keep_them(tiny_job: TrainJob, max_bytes: int) -> None:
    cache = DecodedCache(len(tiny_job.ground_truth), 32, None, max_bytes)
    source = SampleSource(tiny_job.ground_truth, Path(tiny_job.ground_truth_maps), 32, cache)
    for _ in range(2):
        example = source.example(1)
        assert example.image.shape == (32, 24, 3)
        assert example.label_map.shape == (32, 24)
    assert len(cache) == (1 if max_bytes else 0)


def test_an_image_that_no_longer_fits_its_label_map_is_named(tiny_job: TrainJob, tmp_path: Path) -> None:
    write_label_maps(tmp_path / "maps.arrow", [(tiny_job.ground_truth[0].image_id, np.zeros((9, 9), np.uint8))])
    source = SampleSource(tiny_job.ground_truth[:1], tmp_path / "maps.arrow", 64, DecodedCache(1, 64, None))
    with pytest.raises(DataError, match=r"0\.png.*changed after the index step"):
        source.example(0)
