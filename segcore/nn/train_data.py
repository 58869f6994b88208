"""The torch data set of a training: decoded, augmented samples by position in the stream."""

from __future__ import annotations

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
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from segcore.data.images import read_image
from segcore.data.label_maps import LabelMaps
from segcore.errors import DataError
from segcore.nn.augment import Augmentation, resized
from segcore.nn.sample_stream import PositionSampler, Source, StreamSpec, position_at
from segcore.process.jobs import Sample, TrainJob

CACHE_BYTES = 1 << 30  # decoded samples kept in memory, over all workers
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class SampleSource:
    """Images with label maps, decoded once and kept while there is room.

    What is kept is already reduced to the largest side that augmentation can ask for, whether or not there is room:
    results do not depend on the cache.
    """

    def __init__(self, samples: Sequence[Sample], maps: Path, longer_px: int, cache_bytes: int) -> None:
        self.samples = sorted(samples, key=lambda sample: sample.image_id)
        self.maps_path = maps
        self.longer_px = longer_px
        self.free_bytes = cache_bytes
        self.cache: dict[int, Pair] = {}
        self.maps: LabelMaps | None = None  # opened in the worker that reads

    def __len__(self) -> int:
        return len(self.samples)

    def pair(self, index: int) -> Pair:
        """Return image (H, W, 3) uint8 BGR and label map (H, W) uint8, longer side at most longer_px."""
        if index in self.cache:
            return self.cache[index]
        found = self.decoded(self.samples[index])
        num_bytes = found[0].nbytes + found[1].nbytes
        if num_bytes <= self.free_bytes:
            self.free_bytes -= num_bytes
            self.cache[index] = found
        return found

    def decoded(self, sample: Sample) -> Pair:
        """Read one sample from disk."""
        if self.maps is None:
            self.maps = LabelMaps(self.maps_path)
        image = read_image(Path(sample.path))
        label_map = self.maps[sample.image_id]
        if image.shape[:2] != label_map.shape:
            raise DataError(
                f"{sample.path}: image and label map must be of one size, got {image.shape[:2]} and {label_map.shape}; "
                f"was the image changed after the index step?"
            )
        if max(label_map.shape) > self.longer_px:
            return resized(image, label_map, self.longer_px)
        return image, label_map


class TrainSet(Dataset[dict[str, Any]]):
    """Samples by position, as mmseg's data preprocessor takes them: BGR uint8 and SegDataSample."""

    def __init__(self, spec: StreamSpec, sources: dict[Source, SampleSource], augmentation: Augmentation) -> None:
        self.spec = spec
        self.sources = sources
        self.augmentation = augmentation
        self.metainfo: dict[str, Any] = {}  # mmengine warns without

    def __len__(self) -> int:
        return self.spec.num_iterations * self.spec.batch_size

    def __getitem__(self, position: int) -> dict[str, Any]:
        place = position_at(self.spec, position)
        image, label_map = self.sources[place.source].pair(place.image_index)
        image, label_map = self.augmentation(image, label_map, np.random.default_rng(place.seed))
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=torch.from_numpy(label_map.astype(np.int64))[None])
        return {"inputs": torch.from_numpy(image.transpose(2, 0, 1).copy()), "data_samples": sample}


def stream_of(job: TrainJob) -> StreamSpec:
    """Return the sample stream of a job."""
    return StreamSpec(
        num_ground_truth=len(job.ground_truth),
        num_pseudo=len(job.pseudo),
        pseudo_share=job.train.pseudo_share,
        batch_size=job.train.batch_size,
        num_iterations=job.iterations,
        seed=job.seed,
    )


def train_loader(job: TrainJob, start_iteration: int) -> DataLoader[Any]:
    """Return the loader of a training from an iteration on."""
    spec = stream_of(job)
    longer_px = int(np.ceil(job.train.size * max(job.train.augment.scale_range[1], 1.0)))
    budget = CACHE_BYTES // max(job.train.workers, 1)
    sources: dict[Source, SampleSource] = {
        "ground_truth": SampleSource(job.ground_truth, Path(job.ground_truth_maps), longer_px, budget)
    }
    if job.pseudo and job.pseudo_maps is not None:
        sources["pseudo"] = SampleSource(job.pseudo, Path(job.pseudo_maps), longer_px, budget)
    return DataLoader(
        TrainSet(spec, sources, Augmentation(job.train.size, job.train.augment)),
        batch_size=spec.batch_size,
        sampler=PositionSampler(spec, start_iteration),
        num_workers=job.train.workers,
        collate_fn=pseudo_collate,
        worker_init_fn=prepare_worker,
        drop_last=True,
    )


def prepare_worker(_: int) -> None:
    """Make a loading worker leave the end to its trainer, and keep to one core."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)  # the whole tree is signalled; the trainer still needs its batches
    cv2.setNumThreads(1)
