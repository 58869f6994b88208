"""A finished run of very many very small images: everything real but training and prediction, which take no time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import yaml

from segcore.process.jobs import TrainJob
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.steps import evaluate, label, outputs, train

SIDE = 8  # px: a file then fills one block of the disk
IMAGES_PER_FOLDER = 1000
NUM_LABELLED = 400  # in train, and in val
TEST_SHARE = 0.01
NUM_CLASSES = 3  # with background


@dataclass(frozen=True)
class Size:
    """How many images of each list."""

    train: int
    val: int
    test: int
    unlabeled: int

    @classmethod
    def of(cls, num_images: int) -> Size:
        """Divide num_images into lists as a large pool with few labels has them."""
        labelled, test = min(NUM_LABELLED, num_images // 10), round(num_images * TEST_SHARE)
        return cls(labelled, labelled, test, num_images - 2 * labelled - test)


def write_data(folder: Path, size: Size) -> Path:
    """Write images, their COCO lists and a run config into folder; return the config's path."""
    rng = np.random.default_rng(0)
    for name, num in vars(size).items():
        (folder / f"{name}.json").write_text(json.dumps(write_images(folder, name, num, rng)))
    config = folder / "reuse.yaml"
    config.write_text(yaml.safe_dump(run_config()))
    return config


def write_images(folder: Path, name: str, num: int, rng: np.random.Generator) -> dict[str, Any]:
    """Write num images of noise, no two alike; return their COCO list, with a box on each labelled one."""
    names = [f"{name}/{index // IMAGES_PER_FOLDER:03d}/{index:06d}.png" for index in range(num)]
    for file_name in names:
        path = folder / file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8))[1].tobytes())
    labelled = name in ("train", "val")
    box = [1, 1, SIDE - 2, SIDE // 2]
    return {
        "images": [{"id": i, "file_name": n, "width": SIDE, "height": SIDE} for i, n in enumerate(names)],
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1 + i % 2, "iscrowd": 0, "bbox": box, "area": box[2] * box[3],
             "segmentation": [[1, 1, 7, 1, 7, 5, 1, 5]]}
            for i in range(num if labelled else 0)
        ],
    }  # fmt: skip


def run_config() -> dict[str, Any]:
    """Return the config: one round after round 0, everything else as users get it."""
    lists = {name: {"annotations": f"{name}.json", "images": "."} for name in ("train", "val", "test", "unlabeled")}
    return {
        "data": {**lists, "unlabeled": [lists["unlabeled"]], "unannotated": "background"},
        "train": {"iterations": 1},
        "label": {"sizes": [64]},
        "loop": {"rounds": 1},
        "runtime": {"artifacts": "artifacts", "device": "cpu"},
    }


@contextmanager
def instant_programs() -> Iterator[None]:
    """Put a few lines in place of training and prediction, and nothing in place of syncing every index PNG."""
    with ExitStack() as stack:
        for module, name, stand_in in (
            (train, "run_training", instant_training),
            (label, "predict", instant_prediction),
            (evaluate, "predict", instant_prediction),
            (outputs, "sync_tree", no_waiting),
        ):
            stack.enter_context(patch.object(module, name, stand_in))
        yield


def no_waiting(folder: Path) -> None:
    """Leave it to the system when files are written to the disk."""


def instant_training(job_path: Path, job: TrainJob, log_path: Path, options: Any) -> None:
    """Leave weights that follow from the job's seed."""
    del job_path, log_path, options
    out = Path(job.out_dir)
    (out / train.WEIGHTS).write_text(json.dumps([job.seed, job.iterations]))
    (out / train.MODEL_CONFIG).write_text("model = dict()\n")


def instant_prediction(run: Any, index: Any, checkpoint: Any, what: label.Prediction) -> dict[str, Any]:
    """Write one class, sure to some degree, for each image: what follows from weights and image id."""
    del index
    with PredictionWriter(what.work / label.PREDICTIONS) as writer:
        for image in what.images:
            level, class_id = hashlib.sha256((checkpoint.digest + image.image_id).encode()).digest()[:2]
            small = label.small_size(run, image)
            writer.write(
                Prediction(
                    image.image_id,
                    np.full((SIDE, SIDE), class_id % NUM_CLASSES, np.uint8),
                    np.full((SIDE, SIDE), level, np.uint8),
                    None if small is None else np.full(small, class_id % NUM_CLASSES, np.uint8),
                )
            )
    return {"num_images": len(what.images), "quarantined": []}
