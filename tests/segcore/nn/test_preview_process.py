from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np

from segcore.nn.preview_process import NUM_DRAWS, TILE_PX, padded, rows_of, run
from segcore.nn.train_data import train_set
from segcore.process.jobs import TrainJob


def test_the_sheet_shows_both_kinds_of_samples_as_the_training_draws_them(tiny_job: TrainJob, tmp_path: Path) -> None:
    samples = train_set(tiny_job)
    rows = list(rows_of(samples, "ground_truth", "truth", num=2))
    assert [len(row.tiles) for row in rows] == [1 + NUM_DRAWS] * 2
    drawn = [tile.image for row in rows for tile in row.tiles[1:]]
    assert all(image.shape == (64, 64, 3) for image in drawn)
    assert len({image.tobytes() for image in drawn}) == len(drawn)
    run(tiny_job, 2, tmp_path / "both.png")
    run(dataclasses.replace(tiny_job, pseudo=(), pseudo_maps=None), 2, tmp_path / "one.png")
    both, one = (cv2.imread(str(tmp_path / name)) for name in ("both.png", "one.png"))
    assert both is not None
    assert one is not None
    assert both.shape[1] > (1 + NUM_DRAWS) * 2 * TILE_PX
    assert both.shape[0] - one.shape[0] > 2 * TILE_PX


def test_small_samples_are_filled_up_with_ignored_grey(tiny_job: TrainJob) -> None:
    example = train_set(tiny_job).sources["ground_truth"].example(1)
    found = padded(example, 128)
    assert np.array_equal(found.label_map[: example.height, : example.width], example.label_map)
    assert (found.label_map[example.height :] == 255).all()
    assert (found.label_map[:, example.width :] == 255).all()
