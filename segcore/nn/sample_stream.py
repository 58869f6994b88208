"""Which image stands at which position of the training stream: a pure function of seed and position.

Nothing is remembered from one position to the next, so a training resumed at any iteration goes on exactly as if it
had never stopped, with any number of loading workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segcore.errors import DataError

Source = Literal["ground_truth", "pseudo"]


@dataclass(frozen=True)
class StreamSpec:
    """A mixed stream of training samples.

    num_ground_truth, num_pseudo: images of each kind. pseudo_share: of all samples; what a batch cannot hold exactly
    is evened out over batches.
    """

    num_ground_truth: int
    num_pseudo: int
    pseudo_share: float
    batch_size: int
    num_iterations: int
    seed: int

    def __post_init__(self) -> None:
        if self.share < 1 and self.num_ground_truth == 0:
            raise DataError("training needs at least one labelled image, got none; check data.train and the roles")

    @property
    def share(self) -> float:
        """Return the share in force: 0 without pseudo-labels."""
        return self.pseudo_share if self.num_pseudo else 0.0


@dataclass(frozen=True)
class Position:
    """One sample of the stream. image_index: into the list of its source. seed: for its augmentation."""

    source: Source
    image_index: int
    seed: tuple[int, int]


def position_at(spec: StreamSpec, position: int) -> Position:
    """Return what stands at a position, counted over all batches from 0.

    In every batch ground truth comes first. Each source is walked in epochs: every image once, in a new order.
    """
    iteration, slot = divmod(position, spec.batch_size)
    pseudo_before, pseudo_after = pseudo_until(spec, iteration), pseudo_until(spec, iteration + 1)
    num_true = spec.batch_size - (pseudo_after - pseudo_before)
    seed = (spec.seed, position)
    if slot < num_true:
        turn = iteration * spec.batch_size - pseudo_before + slot
        return Position("ground_truth", drawn(spec.num_ground_truth, turn, (spec.seed, 0)), seed)
    return Position("pseudo", drawn(spec.num_pseudo, pseudo_before + slot - num_true, (spec.seed, 1)), seed)


def pseudo_until(spec: StreamSpec, iteration: int) -> int:
    """Return how many pseudo-labelled samples stand before an iteration."""
    return int(np.floor(iteration * spec.batch_size * spec.share + 1e-9))


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
    """A torch sampler: the positions from an iteration to the end."""

    spec: StreamSpec
    start_iteration: int

    def __iter__(self) -> Iterator[int]:
        yield from range(self.start_iteration * self.spec.batch_size, self.spec.num_iterations * self.spec.batch_size)

    def __len__(self) -> int:
        return (self.spec.num_iterations - self.start_iteration) * self.spec.batch_size
