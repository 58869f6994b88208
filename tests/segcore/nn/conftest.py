"""A tiny data set and a student trained on it for a few iterations, once a session."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from segcore.config.train_schema import AugmentConfig, TrainConfig
from segcore.data.label_maps import write_label_maps
from segcore.process.jobs import ModelSpec, Sample, TrainJob, write_train_job

NAMES = ("background", "disc", "square")
PALETTE = ((0, 0, 0), (220, 40, 40), (40, 40, 220))
ITERATIONS = 10


def draw(index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (H, W, 3) uint8 BGR and its label map: a red disc and a blue square on noise."""
    rng = np.random.default_rng(index)
    image = rng.integers(90, 160, (height, width, 3), dtype=np.uint8)
    label_map = np.zeros((height, width), np.uint8)
    x, y, side = int(rng.integers(8, width // 2)), int(rng.integers(8, height // 2)), min(height, width) // 4
    for canvas, disc, square in ((image, (40, 40, 220), (220, 40, 40)), (label_map, 1, 2)):
        cv2.circle(canvas, (width - x, height - y), side // 2, disc, -1)
        cv2.rectangle(canvas, (x, y), (x + side, y + side), square, -1)
    return image, label_map


@pytest.fixture(scope="session")
def tiny_job(tmp_path_factory: pytest.TempPathFactory) -> TrainJob:
    """A training job of a few seconds: four labelled images, three pseudo-labelled of which one is all ignore."""
    root = tmp_path_factory.mktemp("tiny")
    samples, maps = [], []
    for index, (height, width) in enumerate([(64, 64), (80, 60), (61, 77), (64, 96), (64, 64), (64, 64), (50, 70)]):
        image, label_map = draw(index, height, width)
        cv2.imwrite(str(root / f"{index}.png"), image)
        samples.append(Sample(f"train/{index}.png", str(root / f"{index}.png")))
        maps.append((f"train/{index}.png", label_map if index != 5 else np.full_like(label_map, 255)))
    write_label_maps(root / "truth.arrow", maps[:4])
    write_label_maps(root / "pseudo.arrow", maps[4:])
    return TrainJob(
        model=ModelSpec("efficientnet_lite0_upernet", None, "imagenet", 16, NAMES, PALETTE),
        train=TrainConfig(
            iterations=ITERATIONS,
            size=64,
            batch_size=3,
            warmup_iterations=2,
            checkpoint_every=4,
            keep_checkpoints=2,
            workers=0,
            precision="fp32",
            augment=AugmentConfig(),
        ),
        iterations=ITERATIONS,
        seed=5,
        ground_truth=tuple(samples[:4]),
        ground_truth_maps=str(root / "truth.arrow"),
        pseudo=tuple(samples[4:]),
        pseudo_maps=str(root / "pseudo.arrow"),
        init_weights=None,
        resume_dir="",
        out_dir="",
        device="cpu",
        log_every=1,
    )


def placed(job: TrainJob, root: Path) -> TrainJob:
    """Return job with folders of its own under root."""
    (root / "out").mkdir(parents=True, exist_ok=True)
    return dataclasses.replace(job, resume_dir=str(root / "resume"), out_dir=str(root / "out"))


def start_training(job: TrainJob, root: Path) -> subprocess.Popen[str]:
    """Start the training program on job."""
    write_train_job(root / "job.json", job)
    command = [sys.executable, "-m", "segcore.nn.train_process", str(root / "job.json")]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="session")
def trained(tiny_job: TrainJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The out_dir of a finished training, its log beside it."""
    root = tmp_path_factory.mktemp("trained")
    process = start_training(placed(tiny_job, root), root)
    out, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    (root / "stderr.txt").write_text(errors)
    (root / "stdout.txt").write_text(out)
    return root / "out"
