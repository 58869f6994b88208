"""Teachers: networks that label together, each with its weights, its share, and its way to probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmseg.models import BaseSegmentor
from torch import Tensor

from segcore.errors import CheckpointError, ConfigError
from segcore.nn.devices import Precision
from segcore.nn.fast.network import FastNetwork, FastSpec, make_fast
from segcore.nn.networks import build_network, read_config
from segcore.nn.weights import REBUILT, apply_weights, load_foreign
from segcore.process.jobs import PredictJob, TeacherFiles

EVEN = 0.5  # the threshold at which the more probable of two classes wins
NOT_FOR_LABELS = ("auxiliary_head.",)


@dataclass(frozen=True)
class Teacher:
    """One network that labels.

    weight: share in the mean; the weights of one job sum to 1. num_classes: 2 for a one-channel head.
    threshold: probability above which a one-channel head's pixel is class 1; 0.5 for every softmax head.
    """

    fast: FastNetwork
    weight: float
    num_classes: int
    threshold: float

    @property
    def network(self) -> BaseSegmentor:
        """Return the segmentor, with its data preprocessor and align_corners."""
        return self.fast.network

    def probabilities(self, logits_NCHW: Tensor) -> Tensor:
        """Return class probabilities of logits at the size of the image.

        logits_NCHW: (N, C, H, W) float32, unnormalised. Returns (N, num_classes, H, W) float32 in [0, 1]: the softmax,
        or of one channel (1 - p, p) with the sigmoid p, as mmseg's postprocess_result has it.
        """
        if logits_NCHW.shape[1] > 1:
            return logits_NCHW.softmax(dim=1)
        positive = logits_NCHW.sigmoid()
        return torch.cat([1 - positive, positive], dim=1)


def open_teachers(job: PredictJob, device: str, precision: Precision) -> tuple[Teacher, ...]:
    """Build the networks of a job, load their weights and put them on the device; the first decides what is missing.

    device: "cpu" or "cuda". Raises ConfigError or CheckpointError for a config, weights or outputs that do not fit.
    """
    largest_last = tuple((size, size) for size in sorted(job.label.sizes))
    spec = FastSpec(device, precision, largest_last, job.expected_images)
    shares = normalised_weights([files.weight for files in job.teachers])
    teachers: list[Teacher] = []
    for files, share in zip(job.teachers, shares, strict=True):
        network = loaded(files)
        expected = job.num_classes or (teachers[0].num_classes if teachers else None)
        num_classes = checked_classes(network, files, expected)
        threshold = threshold_of(network)
        teachers.append(Teacher(make_fast(network, spec), share, num_classes, threshold))
    return tuple(teachers)


def open_earlier(job: PredictJob, sizes: tuple[int, ...], device: str, precision: Precision) -> tuple[Teacher, ...]:
    """Return the checkpoints along the teachers' trainings, opened like the teachers; () where the job has none.

    sizes: longer sides of the views they look at, px.
    """
    if not job.earlier:
        return ()
    teachers = tuple(replace(files, weight=1.0) for files in job.earlier)
    label = job.label.model_copy(update={"sizes": sizes})
    return open_teachers(replace(job, teachers=teachers, label=label, earlier=()), device, precision)


def normalised_weights(weights: Sequence[float]) -> list[float]:
    """Return weights that sum to 1; ConfigError unless all are positive numbers."""
    if not weights or not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise ConfigError(f"--weight must be a positive number for each teacher, got {list(weights)}")
    return [weight / math.fsum(weights) for weight in weights]


def loaded(files: TeacherFiles) -> BaseSegmentor:
    """Return the network of a config with all of its weights; tensors only are read, nothing is unpickled."""
    network = build_network(read_config(Path(files.config)))
    report = apply_weights(network, load_foreign(Path(files.checkpoint)), files.checkpoint)
    missing = [name for name in report.missing if not name.startswith(NOT_FOR_LABELS) and not name.endswith(REBUILT)]
    reshaped = [name for name in report.reshaped if not name.startswith(NOT_FOR_LABELS)]
    if missing or reshaped:
        raise CheckpointError(
            f"weights {files.checkpoint}: must hold the whole model of {files.config}, but {report}; "
            "give the checkpoint that was trained with this config"
        )
    return network


def checked_classes(network: BaseSegmentor, files: TeacherFiles, expected: int | None) -> int:
    """Return how many classes a network tells apart: its outputs, or 2 when it has one; they must be those expected."""
    num_classes = 2 if network.out_channels == 1 else int(network.out_channels)
    if expected is not None and num_classes != expected:
        raise CheckpointError(
            f"model config {files.config}: must predict {expected} classes, has {network.out_channels} "
            "outputs; train its head on these classes first"
        )
    return num_classes


def threshold_of(network: BaseSegmentor) -> float:
    """Return the probability above which class 1 is predicted; of a cascade the last stage counts, as in mmseg."""
    if network.out_channels > 1:
        return EVEN
    head = network.decode_head
    last: Any = head[-1] if isinstance(head, torch.nn.ModuleList) else head
    return float(last.threshold)


def joint_threshold(teachers: Sequence[Teacher]) -> float:
    """Return the threshold of the weighted mean: each teacher's distance from its own threshold counts by weight."""
    return math.fsum(teacher.weight * teacher.threshold for teacher in teachers)


def decided(probabilities_CHW: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Return the class of each pixel and how probable it is.

    probabilities_CHW: (C, H, W) in [0, 1], the mean over views and teachers. threshold: of joint_threshold().
    Returns (H, W) int64 and (H, W) like the probabilities. With another threshold than 0.5, which only one-channel
    heads have, a pixel can be of the less probable class: its confidence is then below 0.5, and honest.
    """
    if threshold == EVEN:
        confidence, class_ids = probabilities_CHW.max(dim=0)
        return class_ids, confidence
    positive = probabilities_CHW[1] > threshold
    return positive.long(), torch.where(positive, probabilities_CHW[1], probabilities_CHW[0])
