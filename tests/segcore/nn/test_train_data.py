from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from segcore.data.label_maps import write_label_maps
from segcore.errors import DataError
from segcore.nn.sample_source import SampleSource
from segcore.nn.train_data import train_loader
from segcore.process.jobs import TrainJob


def inputs_of(job: TrainJob, start: int = 0) -> list[torch.Tensor]:
    return [image for batch in train_loader(job, start) for image in batch["inputs"]]


def test_batches_do_not_depend_on_the_order_the_samples_are_listed_in(tiny_job: TrainJob) -> None:
    turned = dataclasses.replace(tiny_job, ground_truth=tiny_job.ground_truth[::-1], pseudo=tiny_job.pseudo[::-1])
    first, other = inputs_of(tiny_job), inputs_of(turned)
    assert len(first) == tiny_job.iterations * tiny_job.train.batch_size
    assert all(torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_a_loader_started_later_gives_the_rest_of_the_same_stream(tiny_job: TrainJob) -> None:
    whole, rest = inputs_of(tiny_job), inputs_of(tiny_job, start=7)
    assert all(torch.equal(one, two) for one, two in zip(whole[7 * 3 :], rest, strict=True))


@pytest.mark.parametrize("cache_bytes", [0, 10**9])
def test_large_images_are_reduced_alike_with_and_without_room_to_keep_them(
    tiny_job: TrainJob, cache_bytes: int
) -> None:
    source = SampleSource(tiny_job.ground_truth, Path(tiny_job.ground_truth_maps), 32, cache_bytes)
    for _ in range(2):
        example = source.example(1)
        assert example.image.shape == (32, 24, 3)
        assert example.label_map.shape == (32, 24)
    assert len(source.cache) == (1 if cache_bytes else 0)


def test_an_image_that_no_longer_fits_its_label_map_is_named(tiny_job: TrainJob, tmp_path: Path) -> None:
    write_label_maps(tmp_path / "maps.arrow", [(tiny_job.ground_truth[0].image_id, np.zeros((9, 9), np.uint8))])
    source = SampleSource(tiny_job.ground_truth[:1], tmp_path / "maps.arrow", 64, 0)
    with pytest.raises(DataError, match=r"0\.png.*changed after the index step"):
        source.example(0)
