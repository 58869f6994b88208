"""The torch data set of a training: decoded, augmented samples by position in the stream."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.utils.data import DataLoader, Dataset

from segcore.config.train_schema import LossConfig
from segcore.nn.augment.augmentation import Augmentation
from segcore.nn.augment.example import Example
from segcore.nn.augment.object_bank import ObjectBank, object_bank
from segcore.nn.class_pixels import labelled_pixels
from segcore.nn.decoded_cache import DecodedCache
from segcore.nn.devices import torch_device
from segcore.nn.loss.batch_weights import weigh
from segcore.nn.loss.ramp import pseudo_weight
from segcore.nn.ranks import ALONE, Ranks
from segcore.nn.sample_source import SampleSource
from segcore.nn.sample_stream import (
    Position,
    PositionSampler,
    RareClasses,
    Source,
    StreamSpec,
    position_at,
    rare_classes,
)
from segcore.process.jobs import Sample, TrainJob

log = logging.getLogger(__name__)

WORKERS_ON_CPU = 2  # what a batch takes to load is little beside the step, and the step needs the cores
MOST_WORKERS = 8


class TrainSet(Dataset[dict[str, Any]]):
    """Samples by position, as mmseg's data preprocessor takes them: BGR uint8 and SegDataSample."""

    def __init__(
        self, spec: StreamSpec, sources: dict[Source, SampleSource], augmentation: Augmentation, loss: LossConfig
    ) -> None:
        self.spec = spec
        self.sources = sources
        self.augmentation = augmentation
        self.loss = loss
        self.metainfo: dict[str, Any] = {}  # mmengine warns without

    def __len__(self) -> int:
        return self.spec.num_iterations * self.spec.batch_size

    def __getitem__(self, position: int) -> dict[str, Any]:
        example = self.example(position)
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(example.label_map.copy())[None])
        weigh(sample, self.loss_weight(position), example.pixel_weight)
        return {"inputs": torch.from_numpy(example.image.transpose(2, 0, 1).copy()), "data_samples": sample}

    def example(self, position: int) -> Example:
        """Return what the model sees at a position: a pure function of seed and position."""
        return self.augmented(position_at(self.spec, position))

    def augmented(self, place: Position) -> Example:
        """Return a sample as the model sees it."""
        rng = np.random.default_rng(place.seed)
        source = self.sources[place.source]
        example = source.example(place.image_index)
        if place.source == "ground_truth":
            return self.augmentation.ground_truth(example, rng, place.wanted_class)
        return self.augmentation.strong(example, lambda: source.example(int(rng.integers(len(source)))), rng)

    def loss_weight(self, position: int) -> float:
        """Return what the pixels of the sample at a position count in the loss, before their own weights."""
        if position_at(self.spec, position).source == "ground_truth":
            return 1.0
        return pseudo_weight(self.loss, position // self.spec.batch_size, self.spec.num_iterations)


def stream_of(job: TrainJob) -> StreamSpec:
    """Return the sample stream of a job."""
    return StreamSpec(
        num_ground_truth=len(job.ground_truth),
        num_pseudo=len(job.pseudo),
        pseudo_share=job.train.pseudo_share,
        batch_size=job.train.batch_size,
        num_iterations=job.iterations,
        seed=job.seed,
        gt_only_last=job.train.gt_only_last,
        rare=rare_sampling(job),
    )


def rare_sampling(job: TrainJob) -> RareClasses | None:
    """Return the rare-class sampling of a job, None without; label maps are looked at only where it is asked for."""
    share = job.train.rare_class_share
    return None if share == 0 else rare_classes(labelled_pixels(job), share, job.train.rare_class_temperature)


def train_set(job: TrainJob) -> TrainSet:
    """Return all that the model of a job sees."""
    longer_px = longest_side(job)
    sources: dict[Source, SampleSource] = {
        "ground_truth": SampleSource(
            job.ground_truth, Path(job.ground_truth_maps), longer_px, cache_of(job, job.ground_truth)
        )
    }
    if job.pseudo and job.pseudo_maps is not None:
        confidence = None if job.pseudo_confidence is None else Path(job.pseudo_confidence)
        cache = cache_of(job, job.pseudo)
        sources["pseudo"] = SampleSource(job.pseudo, Path(job.pseudo_maps), longer_px, cache, confidence)
    bank = rare_objects(job, sources["ground_truth"])
    return TrainSet(stream_of(job), sources, Augmentation(job.train.size, job.train.augment, bank), job.train.loss)


def longest_side(job: TrainJob) -> int:
    """Return the longest image side that augmentation asks for, px."""
    return int(np.ceil(job.train.size * max(job.train.augment.scale_range[1], 1.0)))


def cache_of(job: TrainJob, samples: Sequence[Sample]) -> DecodedCache:
    """Return an empty place for decoded samples, on the disk of the resume files."""
    folder = Path(job.resume_dir) if job.resume_dir else None
    return DecodedCache(len(samples), longest_side(job), folder, num_sharing=job.train.gpus)


def rare_objects(job: TrainJob, ground_truth: SampleSource) -> ObjectBank | None:
    """Return what copy-paste draws from, if the job asks for it and has any."""
    if job.train.augment.copy_paste == 0:
        return None
    bank = object_bank(ground_truth, labelled_pixels(job), job.train.size, job.seed, job.unannotated_class)
    if bank is None:
        log.warning("train.augment.copy_paste: no class is rarer than the others, so nothing is pasted")
    else:
        names = (f"{len(found)} {job.model.class_names[class_id]}" for class_id, found in bank.objects.items())
        log.info("train.augment.copy_paste: objects to paste: %s", ", ".join(names))
    return bank


def train_loader(job: TrainJob, start_iteration: int, ranks: Ranks = ALONE) -> DataLoader[Any]:
    """Return the loader of a training from an iteration on, or of one process's share of it."""
    samples = train_set(job)
    share = ranks.share(samples.spec.batch_size)
    return DataLoader(
        samples,
        batch_size=len(share),
        sampler=PositionSampler(samples.spec.batch_size, job.iterations, start_iteration, share),
        collate_fn=pseudo_collate,
        drop_last=True,
        **workers_of(job),
    )


def workers_of(job: TrainJob) -> dict[str, Any]:
    """Return the arguments of a DataLoader about its workers; they are forked, to share what is decoded."""
    number = num_workers(job)
    if number:
        cv2.setNumThreads(1)  # ends OpenCV's threads: a fork does not copy them, and a worker would wait for them
    return {
        "num_workers": number,
        "multiprocessing_context": "fork" if number else None,
        "worker_init_fn": prepare_worker,
    }


def num_workers(job: TrainJob) -> int:
    """Return how many processes load samples, for each GPU: as the job says, or what device and machine suggest."""
    if job.train.workers is not None:
        return job.train.workers
    if torch_device(job.device) == "cpu":
        return WORKERS_ON_CPU
    cores = len(os.sched_getaffinity(0)) // job.train.gpus
    return min(MOST_WORKERS, max(2, cores // 2))


def prepare_worker(_: int) -> None:
    """Make a loading worker leave the end to its trainer, and keep to one core."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)  # the whole tree is signalled; the trainer still needs its batches
    cv2.setNumThreads(1)
