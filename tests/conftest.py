"""Shared by all tests: quiet Prefect, hypothesis without deadlines (two busy cores), and tiny data sets."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import settings

settings.register_profile("segloop", deadline=None)
settings.load_profile("segloop")

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

COLOURS = {1: (40, 40, 220), 2: (60, 200, 60)}  # BGR by category id
SPLITS = {"train": 6, "val": 12, "unlabeled": 8, "test": 4}


def draw(folder: Path, split: str, num: int, rng: np.random.Generator, side: int) -> dict[str, Any]:
    """Draw images of one or two noisy rectangles, and return them as COCO."""
    images, annotations = [], []
    for index in range(num):
        image = rng.normal(120, 25, (side, side, 3)).clip(0, 255).astype(np.uint8)
        name = f"{split}/{index:03d}.png"
        images.append({"id": index + 1, "file_name": name, "width": side, "height": side})
        for category in {1 + index % 2, int(rng.integers(1, 3))}:
            w, h = (int(v) for v in rng.integers(side // 4, side // 2, 2))
            x, y = int(rng.integers(0, side - w)), int(rng.integers(0, side - h))
            image[y : y + h, x : x + w] = rng.normal(COLOURS[category], 20, (h, w, 3)).clip(0, 255)
            polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": index + 1, "category_id": category, "iscrowd": 0,
                 "segmentation": [polygon], "area": w * h, "bbox": [x, y, w, h]}
            )  # fmt: skip
        (folder / split).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), image)
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    labelled = split in ("train", "val")
    return {"images": images, "annotations": annotations if labelled else [], "categories": categories}


def draw_data(folder: Path, side: int = 64) -> Path:
    """Draw a data set of two easy classes, all splits, into folder."""
    rng = np.random.default_rng(0)
    for split, num in SPLITS.items():
        coco = draw(folder, split, num, rng, side)
        (folder / f"{split}.json").write_text(json.dumps(coco))
    return folder


TINY: dict[str, Any] = {
    "data": {
        "train": {"annotations": "data/train.json", "images": "data"},
        "val": {"annotations": "data/val.json", "images": "data"},
        "unlabeled": [{"annotations": "data/unlabeled.json", "images": "data"}],
        "test": {"annotations": "data/test.json", "images": "data"},
        "unannotated": "background",
    },
    "roles": {"min_gate_images": 3},
    "model": {"preset": "efficientnet_lite0_upernet", "weights": "imagenet", "head_channels": 16},
    "train": {"iterations": 8, "batch_size": 2, "size": 64, "checkpoint_every": 2, "workers": 0, "lr": 0.003},
    "label": {"sizes": [64], "flip": False, "num_shards": 3},
    "filter": {"share": 0.8, "min_tau": 0.0},
    "loop": {"rounds": 1, "gate_resamples": 200},
    "outputs": {"submission_size": [32, 32]},
    "runtime": {"artifacts": "artifacts", "device": "cpu", "log_every": 1, "min_free_gb": 0.1, "grace_s": 20},
}


@pytest.fixture(scope="session")
def write_tiny() -> Callable[[Path, str], Path]:
    """Return a function that writes tiny data and a run config NAME.yaml into a folder and returns its path."""

    def write(folder: Path, name: str = "tiny") -> Path:
        if not (folder / "data").exists():
            draw_data(folder / "data")
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(TINY))
        return path

    return write
