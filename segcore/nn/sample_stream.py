"""Which image stands at which position of the training stream: a pure function of seed and position.

Nothing is remembered from one position to the next, so a training resumed at any iteration goes on exactly as if it
had never stopped, with any number of loading workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segcore.errors import DataError

Source = Literal["ground_truth", "pseudo"]


@dataclass(frozen=True)
class RareClasses:
    """Rare-class sampling as in Hoyer et al. 2022 (DAFormer, https://arxiv.org/abs/2111.14887, section 3.3).

    share: of the ground-truth samples, those drawn for a class. chance: of each class to be the one, summing to 1.
    images: of each class, the images that hold it, one of which is drawn; empty where the chance is 0.
    """

    share: float
    chance: tuple[float, ...]
    images: tuple[tuple[int, ...], ...]


def rare_classes(counts: NDArray[np.int64], share: float, temperature: float) -> RareClasses | None:
    """Return the sampling for images with so many pixels of each class; None without a share or any pixel.

    counts: (images, C). The chance of class c, with the share f_c of all pixels, is the softmax of
    (1 - f_c) / temperature over the classes that some image holds.
    """
    pixels = counts.sum(axis=0)
    present = np.flatnonzero(pixels)
    if share == 0 or present.size == 0:
        return None
    shares = pixels[present] / pixels.sum()
    chance = np.zeros(len(pixels))
    chance[present] = np.exp((shares.min() - shares) / temperature)
    images = tuple(tuple(np.flatnonzero(column).tolist()) for column in counts.T)
    return RareClasses(share, tuple((chance / chance.sum()).tolist()), images)


@dataclass(frozen=True)
class StreamSpec:
    """A mixed stream of training samples.

    num_ground_truth, num_pseudo: images of each kind. pseudo_share: of all samples; what a batch cannot hold exactly
    is evened out over batches. gt_only_last: share of the iterations, the last ones, without pseudo-labels. rare: None
    without rare-class sampling.
    """

    num_ground_truth: int
    num_pseudo: int
    pseudo_share: float
    batch_size: int
    num_iterations: int
    seed: int
    gt_only_last: float = 0.0
    rare: RareClasses | None = None

    def __post_init__(self) -> None:
        if (self.share < 1 or self.gt_only_last) and self.num_ground_truth == 0:
            raise DataError("training needs at least one labelled image, got none; check data.train and the roles")

    @property
    def share(self) -> float:
        """Return the share in force: 0 without pseudo-labels."""
        return self.pseudo_share if self.num_pseudo else 0.0

    @property
    def num_mixed(self) -> int:
        """Return how many iterations there are before those on ground truth alone."""
        return self.num_iterations - round(self.num_iterations * self.gt_only_last)


@dataclass(frozen=True)
class Position:
    """One sample of the stream.

    image_index: into the list of its source. seed: for its augmentation. wanted_class: what the sample was drawn for
    and its crop should show; None if it was drawn for no class.
    """

    source: Source
    image_index: int
    seed: tuple[int, int]
    wanted_class: int | None = None


def position_at(spec: StreamSpec, position: int) -> Position:
    """Return what stands at a position, counted over all batches from 0.

    In every batch ground truth comes first. Each source is walked in epochs: every image once, in a new order; samples
    that are drawn for a class stand between and do not count.
    """
    iteration, slot = divmod(position, spec.batch_size)
    pseudo_before, pseudo_after = pseudo_until(spec, iteration), pseudo_until(spec, iteration + 1)
    num_true = spec.batch_size - (pseudo_after - pseudo_before)
    seed = (spec.seed, position)
    if slot < num_true:
        return labelled_at(spec, iteration * spec.batch_size - pseudo_before + slot, seed)
    return Position("pseudo", drawn(spec.num_pseudo, pseudo_before + slot - num_true, (spec.seed, 1)), seed)


def pseudo_until(spec: StreamSpec, iteration: int) -> int:
    """Return how many pseudo-labelled samples stand before an iteration."""
    return int(np.floor(min(iteration, spec.num_mixed) * spec.batch_size * spec.share + 1e-9))


def labelled_at(spec: StreamSpec, turn: int, seed: tuple[int, int]) -> Position:
    """Return the sample of a turn of ground truth; every so many are drawn for a class, as evenly as can be."""
    if spec.rare is None:
        return Position("ground_truth", drawn(spec.num_ground_truth, turn, (spec.seed, 0)), seed)
    before, after = (int(np.floor(number * spec.rare.share + 1e-9)) for number in (turn, turn + 1))
    if before == after:
        return Position("ground_truth", drawn(spec.num_ground_truth, turn - before, (spec.seed, 0)), seed)
    rng = np.random.default_rng((spec.seed, 2, before))
    class_id = int(rng.choice(len(spec.rare.chance), p=spec.rare.chance))
    images = spec.rare.images[class_id]
    return Position("ground_truth", images[int(rng.integers(len(images)))], seed, class_id)


def drawn(num_images: int, turn: int, seed: tuple[int, int]) -> int:
    """Return the image of a turn: turns 0..num_images-1 are one permutation, the next num_images another."""
    epoch, place = divmod(turn, num_images)
    return int(permutation(num_images, (*seed, epoch))[place])


@lru_cache(maxsize=8)
def permutation(num_images: int, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the order of one epoch."""
    return np.random.default_rng(seed).permutation(num_images)


@dataclass(frozen=True)
class PositionSampler:
    """A torch sampler: the positions from an iteration to the last, those in each batch at the places of share.

    share: None for all of them.
    """

    batch_size: int
    num_iterations: int
    start_iteration: int
    share: Sequence[int] | None = None

    @property
    def places(self) -> Sequence[int]:
        """Return the places in a batch that are sampled."""
        return range(self.batch_size) if self.share is None else self.share

    def __iter__(self) -> Iterator[int]:
        for iteration in range(self.start_iteration, self.num_iterations):
            yield from (iteration * self.batch_size + place for place in self.places)

    def __len__(self) -> int:
        return (self.num_iterations - self.start_iteration) * len(self.places)
