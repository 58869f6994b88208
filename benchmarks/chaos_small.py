"""A run small enough to be killed thirty times in a quarter of an hour: few drawn pictures, trainings of seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from segcore.data.demo_data import DemoSpec, draw_demo_data

IMAGES = {"images": "data/images"}
CONFIG: dict[str, Any] = {
    "data": {
        "train": {"annotations": "data/train.json", **IMAGES},
        "val": {"annotations": "data/val.json", **IMAGES},
        "unlabeled": [{"annotations": "data/unlabeled.json", **IMAGES}],
        "test": {"annotations": "data/test.json", **IMAGES},
        "unannotated": "background",
    },
    "roles": {"min_gate_images": 3},
    "model": {"head_channels": 16},
    "train": {"iterations": 20, "batch_size": 4, "size": 64, "checkpoint_every": 4, "workers": 0},
    "label": {"sizes": [64, 96], "num_shards": 3},
    "loop": {"rounds": 2, "gate_resamples": 500},
    "outputs": {"submission_size": [64, 64]},
    "runtime": {"artifacts": "artifacts", "device": "cpu", "log_every": 1, "min_free_gb": 0.1, "grace_s": 20},
}


def write_small(folder: Path) -> Path:
    """Draw the data and write the config into folder, once; return the config's path."""
    path = folder / "small.yaml"
    if not path.exists():
        draw_demo_data(folder / "data", DemoSpec(num_train=8, num_val=20, num_test=4, num_unlabeled=14, size=64))
        path.write_text(yaml.safe_dump(CONFIG))
    return path
