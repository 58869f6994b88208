"""Pool images for consistency training: a weak and two strong views of each, by position in a stream of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from segcore.config.student_schema import ConsistencyConfig
from segcore.data.images import read_image
from segcore.nn.augment.augmentation import Augmentation
from segcore.nn.augment.example import Example
from segcore.nn.augment.geometry import resized
from segcore.nn.augment.strong import cutmix_box, strong_colour
from segcore.nn.decoded_cache import DecodedCache
from segcore.nn.ranks import ALONE, Ranks
from segcore.nn.sample_source import SampleSource
from segcore.nn.sample_stream import PositionSampler, drawn
from segcore.nn.train_data import cache_of, longest_side, workers_of
from segcore.process.jobs import Sample, TrainJob
from segcore.records import IGNORE_INDEX

ORDER, VIEWS = 7, 8  # set this stream's random numbers apart from those of labelled samples


class PoolSource(SampleSource):
    """Images without label maps; nothing of theirs is labelled."""

    def __init__(self, samples: Sequence[Sample], longer_px: int, cache: DecodedCache) -> None:
        super().__init__(samples, Path(), longer_px, cache)

    def decoded(self, sample: Sample) -> Example:
        """Read one image from disk."""
        image = read_image(Path(sample.path))
        found = Example(image, np.full(image.shape[:2], IGNORE_INDEX, np.uint8))
        return resized(found, self.longer_px) if max(found.height, found.width) > self.longer_px else found


@dataclass(frozen=True)
class UnlabelledStream:
    """Which pool image stands where: a pure function of seed and position. batch_size: images an iteration."""

    num_images: int
    batch_size: int
    num_iterations: int
    seed: int

    def image_at(self, position: int) -> int:
        """Return the image at a position; all are walked in epochs, each in a new order."""
        return drawn(self.num_images, position, (self.seed, ORDER))

    def rng_at(self, position: int) -> np.random.Generator:
        """Return the generator of a position's views."""
        return np.random.default_rng((self.seed, position, VIEWS))


class UnlabelledSet(Dataset[dict[str, torch.Tensor]]):
    """Pool images by position: weak, strong_1, strong_2 (3, H, W) uint8 BGR of equal size; box_1, box_2 for CutMix.

    A box is (top, bottom, left, right) px, from the top left corner of a crop; all zeros where nothing is mixed in.
    """

    def __init__(self, stream: UnlabelledStream, source: PoolSource, augmentation: Augmentation, cutmix: float) -> None:
        self.stream = stream
        self.source = source
        self.augmentation = augmentation
        self.cutmix = cutmix

    def __len__(self) -> int:
        return self.stream.num_iterations * self.stream.batch_size

    def __getitem__(self, position: int) -> dict[str, torch.Tensor]:
        rng = self.stream.rng_at(position)
        weak = self.augmentation.moved(self.source.example(self.stream.image_at(position)), rng).contiguous().image
        images = {"weak": weak, "strong_1": strong_colour(weak, rng), "strong_2": strong_colour(weak, rng)}
        views = {name: torch.from_numpy(image.transpose(2, 0, 1).copy()) for name, image in images.items()}
        return {**views, "box_1": torch.from_numpy(self.box(rng)), "box_2": torch.from_numpy(self.box(rng))}

    def box(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the box of one strong view."""
        if rng.random() >= self.cutmix:
            return np.zeros(4, np.int64)
        rows, columns = cutmix_box(self.augmentation.size, self.augmentation.size, rng)
        return np.array([rows.start, rows.stop, columns.start, columns.stop], np.int64)


def unlabelled_loader(
    job: TrainJob, consistency: ConsistencyConfig, start_iteration: int, ranks: Ranks = ALONE
) -> DataLoader[Any]:
    """Return the loader of a training's pool images from an iteration on, or of one process's share of them."""
    train = job.train
    batch_size = consistency.images_of(train.batch_size)
    stream = UnlabelledStream(len(job.unlabelled), batch_size, job.iterations, job.seed)
    source = PoolSource(job.unlabelled, longest_side(job), cache_of(job, job.unlabelled))
    share = ranks.share(batch_size)
    return DataLoader(
        UnlabelledSet(stream, source, Augmentation(train.size, train.augment), consistency.cutmix),
        batch_size=len(share),
        sampler=PositionSampler(batch_size, job.iterations, start_iteration, share),
        collate_fn=pseudo_collate,
        drop_last=True,
        **workers_of(job),
    )


@dataclass(frozen=True)
class BothLoaders:
    """Labelled and unlabelled batches of the same iterations: {"labelled": …, "unlabelled": …}."""

    labelled: DataLoader[Any]
    unlabelled: DataLoader[Any]

    @property
    def dataset(self) -> Any:
        """Return the labelled samples: mmengine asks for the data set of a loader."""
        return self.labelled.dataset

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for labelled, unlabelled in zip(self.labelled, self.unlabelled, strict=True):
            yield {"labelled": labelled, "unlabelled": unlabelled}
