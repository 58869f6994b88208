"""Sampling and loss in whole trainings: weights stay on their pixels, and everything resumes to the bit."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from segcore.config.train_schema import AugmentConfig, LossConfig, StrongConfig
from segcore.data.label_maps import LabelMaps, write_label_maps
from segcore.errors import ConfigError
from segcore.nn import train_process
from segcore.nn.sample_stream import position_at
from segcore.nn.train_data import train_set
from segcore.process.jobs import TrainJob
from segcore.pseudo.confidence import LEVEL_EDGES

from .conftest import placed

ITERATIONS = 4
LOSS = LossConfig(
    class_weights="inverse_sqrt",
    ohem=0.7,
    region="lovasz",
    pseudo_weight=0.5,
    pseudo_ramp=0.5,
    confidence_weighted=True,
)
LEVEL_OF_CLASS = np.array([20, 60, 140], np.uint8)


@pytest.fixture
def job(tiny_job: TrainJob, tmp_path: Path) -> TrainJob:
    """A training of four iterations with all of it, the last on ground truth; the confidence follows the class."""
    labels = LabelMaps(Path(str(tiny_job.pseudo_maps)))
    levels = ((name, np.array([*LEVEL_OF_CLASS, *[0] * 253], np.uint8)[labels[name]]) for name in labels.ids())
    write_label_maps(tmp_path / "confidence.arrow", levels)
    augment = AugmentConfig(rotate_90=0.5, strong=StrongConfig(cutmix=0.5, cutout=0.5))
    what = {"loss": LOSS, "augment": augment, "rare_class_share": 0.5, "gt_only_last": 0.25, "checkpoint_every": 2}
    return dataclasses.replace(
        tiny_job,
        train=tiny_job.train.model_copy(update=what),
        iterations=ITERATIONS,
        pseudo_confidence=str(tmp_path / "confidence.arrow"),
    )


def train(job: TrainJob, root: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Train in this process, its signal handlers left alone; return the published weights."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert train_process.run(placed(job, root)) == 0
    return (root / "out" / "model.pth").read_bytes()


def test_a_training_with_all_of_it_resumes_to_the_bit_and_each_part_changes_it(
    job: TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(job, tmp_path / "whole", monkeypatch)
    (tmp_path / "whole" / "resume" / f"iteration_{ITERATIONS:08d}.pth").unlink()
    assert train(job, tmp_path / "whole", monkeypatch) == whole
    log = (tmp_path / "whole" / "out" / "logs" / "progress.jsonl").read_text()
    assert log.count("\n") == ITERATIONS
    unweighted = dataclasses.replace(job, pseudo_confidence=None)
    assert train(unweighted, tmp_path / "unweighted", monkeypatch) != whole
    state = torch.load(tmp_path / "whole" / "out" / "model.pth", weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in state.values())


def test_weights_stay_on_their_pixels_and_rise_and_ground_truth_has_none(job: TrainJob) -> None:
    long = dataclasses.replace(job, iterations=40)
    samples = train_set(long)
    seen = []
    for position in range(len(samples)):
        sample = samples[position]["data_samples"]
        iteration = position // long.train.batch_size
        if "pixel_weight" not in sample:
            assert "loss_weight" not in sample
            continue
        labels, weights = sample.gt_sem_seg.data[0].numpy(), sample.pixel_weight.data[0].numpy()
        for class_id, level in enumerate(LEVEL_OF_CLASS):
            assert set(np.unique(weights[labels == class_id])) <= {round(LEVEL_EDGES[level] * 255)}
        seen.append((iteration, float(sample.get("loss_weight"))))
    assert {iteration for iteration, _ in seen} == set(range(30))  # the last quarter is ground truth alone
    assert [weight for _, weight in seen] == sorted(weight for _, weight in seen)
    assert (seen[0][1], seen[-1][1]) == (pytest.approx(0.5 * np.exp(-5)), 0.5)


def test_a_crop_for_a_class_shows_it(job: TrainJob) -> None:
    augment = AugmentConfig(scale_range=(2.0, 2.0), flip=0.0, photometric=False)
    train = job.train.model_copy(update={"augment": augment, "size": 32, "gt_only_last": 1.0})
    always, never = (
        train_set(dataclasses.replace(job, iterations=40, train=train.model_copy(update={"rare_class_share": share})))
        for share in (1.0, 0.0)
    )
    wanted = [position_at(always.spec, position).wanted_class for position in range(len(always))]
    shown = [np.any(always.example(position).label_map == class_id) for position, class_id in enumerate(wanted)]
    by_chance = [np.any(never.example(position).label_map == class_id) for position, class_id in enumerate(wanted)]
    assert all(shown)
    assert np.mean(by_chance) < 0.8


def test_an_unknown_class_ends_the_training_before_it_begins(job: TrainJob, tmp_path: Path) -> None:
    loss = LossConfig(class_weights={"sqare": 2.0})
    wrong = dataclasses.replace(job, train=job.train.model_copy(update={"loss": loss}))
    with pytest.raises(ConfigError, match=r"names the class 'sqare'.*did you mean 'square'"):
        train_process.run(placed(wrong, tmp_path))
