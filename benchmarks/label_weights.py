"""Trained weights to measure labelling with: our own trainer on the labelled photos of garbage6, kept as a run.

The schedules are short: speed and agreement are measured with these weights, not their quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.page import ROOT
from segcore.data.label_maps import LabelMaps
from segcore.records import ImageRecord
from segcore.steps.index import class_map_of, ground_truth_path, image_path, images_of, index_images
from segcore.steps.places import student_place
from segcore.steps.run import Run, open_run
from segcore.steps.train import TrainSpec, train

CONFIG = ROOT / "configs" / "garbage6.yaml"
MOBILENET = ROOT / "benchmarks" / "mobilenetv2_upernet.py"  # a config file, as users have them
KEPT = ROOT / "artifacts" / "benchmarks"


@dataclass(frozen=True)
class Model:
    """A model to measure with. training: what its run sets besides the data, as FIELD=VALUE. weights: for people.

    goal_cpu: times as fast as mmseg on a CPU; convolutional networks have more to gain than Swin.
    """

    title: str
    training: tuple[str, ...]
    weights: str
    goal_cpu: float


def random_start(preset: str, training: Sequence[str]) -> tuple[str, ...]:
    """Return the settings of a preset that is trained from random weights."""
    return (f"model.preset={preset}", "model.weights=null", *training)


LARGE = ("train.iterations=100", "train.size=256", "train.lr=0.0001")
MODELS_BY_NAME = {
    "lite0": Model(
        "EfficientNet-Lite0-UPer (preset, 64 channels)",
        ("train.iterations=300", "train.size=224"),
        "from ImageNet weights, 300 iterations at 224 px",
        goal_cpu=4,
    ),
    "mobilenetv2": Model(
        "MobileNetV2-UPer (128 channels, stride 16)",
        (
            *("model.preset=null", f"model.config={MOBILENET}", "model.weights=null"),
            *("train.iterations=300", "train.size=160", "train.backbone_lr_mult=1.0"),
        ),
        "from random weights, 300 iterations at 160 px",
        goal_cpu=4,
    ),
    "swin_tiny": Model(
        "Swin-T-UPer (512 channels)",
        random_start(
            "swin_tiny_upernet", ("train.iterations=120", "train.size=96", "train.batch_size=4", "train.lr=0.0003")
        ),
        "from random weights, 120 iterations of 4 photos at 96 px",
        goal_cpu=2.5,
    ),
    "swin_large": Model(
        "Swin-L-UPer (512 channels, windows of 12)",
        random_start("swin_large_upernet", LARGE),
        "from random weights, 100 iterations at 256 px",
        goal_cpu=2.5,
    ),
    "convnext_xlarge": Model(
        "ConvNeXt-XL-UPer (512 channels)",
        random_start("convnext_xlarge_upernet", LARGE),
        "from random weights, 100 iterations at 256 px",
        goal_cpu=4,
    ),
}


@dataclass(frozen=True)
class Trained:
    """A trained model and what it is measured on. images: (image_id, path), the first ones with ground truth.

    checkpoint, config: absolute. truth_path: LabelMaps file that holds the ground truth.
    """

    checkpoint: Path
    config: Path
    num_classes: int
    images: tuple[tuple[str, Path], ...]
    truth_path: Path

    def truth(self) -> LabelMaps:
        """Open the ground truth."""
        return LabelMaps(self.truth_path)


def trained(name: str, data: Path, device: str, overrides: Sequence[str] = ()) -> Trained:
    """Return a model trained on the photos in data, training it now unless that was done before.

    ClickException where the photos are not.
    """
    if not (data / "train.json").is_file():
        raise click.ClickException(f"{data}: must be the folder of garbage6, with train.json and val.json; give --data")
    settings = (*data_settings(data), *MODELS_BY_NAME[name].training, f"runtime.device={device}", *overrides)
    with open_run(str(CONFIG), f"label-{name}", overrides=settings, update=True) as run:
        index = index_images(run)
        student = train(TrainSpec(run, index, 0, None, None, student_place(0)))
        return Trained(
            run.path / student.checkpoint.path,
            run.path / student.checkpoint.config,
            class_map_of(run, index).num_classes,
            paths_of(run, images_of(run, index, "calib", "gate")),
            ground_truth_path(run, index),
        )


def data_settings(data: Path) -> tuple[str, ...]:
    """Return the settings of a run on the labelled photos alone, kept beside other runs."""
    lists = [f"data.{name}.annotations={data / name}.json" for name in ("train", "val")]
    folders = [f"data.{name}.images={data}" for name in ("train", "val")]
    return (*lists, *folders, "data.unlabeled=[]", "data.test=null", "loop.rounds=0", f"runtime.artifacts={KEPT}")


def paths_of(run: Run, images: Sequence[ImageRecord]) -> tuple[tuple[str, Path], ...]:
    """Return ids and paths of images."""
    return tuple((image.image_id, image_path(run, image)) for image in images)
