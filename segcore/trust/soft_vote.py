"""Which models vote, and with which weights: greedy selection with replacement on calib (Caruana et al. 2004).

Starting from nothing, the model that lifts the mIoU of the joint vote most is taken, again and again; one taken twice
has twice the weight, and one never taken is no member. Few picks mean few weights to choose from, and so little that
chance could fit. Whether the choice is worth more than equal weights is asked of images that had no part in it: each
fifth of calib is voted on with the weights that the other four fifths choose. Unless that beats equal weights on the
same images, which need no choice, the weights are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from segcore.trust.calibration import NUM_FOLDS, fold_of_images
from segcore.trust.confusion import confusion_matrix, miou, present_classes

NUM_PICKS = 10  # weights are tenths at the finest

Picks = tuple[int, ...]  # how often each model was taken, in order of the models


@dataclass(frozen=True, eq=False)
class VotedImage:
    """What M models say of one image. values: (M, C, h, w) shares of their votes. truth: (h, w) uint8, 255: unknown."""

    values: NDArray[np.float16]
    truth: NDArray[np.uint8]


@dataclass(frozen=True)
class VoteChoice:
    """Weights, and what speaks for them; all mIoU in [0, 1], on calib.

    weights: one a model, sum 1; 0 for one that is no member. alone: mIoU of each model by itself. equal: of all with
    equal weights. chosen: of the greedy choice, on the images it was made on; out_of_fold: on images it was made
    without. Both None where too few images allow no choice.
    """

    weights: tuple[float, ...]
    alone: tuple[float, ...]
    equal: float
    chosen: float | None
    out_of_fold: float | None

    @property
    def is_equal(self) -> bool:
        """Return whether all models have the same weight."""
        return len(set(self.weights)) == 1


def choose_weights(images: Sequence[VotedImage], num_models: int, num_classes: int) -> VoteChoice:
    """Return the weights of the models. images: in the order of their ids, one or more."""
    votes = JointVotes(images, num_classes)
    everything, even = np.ones(len(images), bool), (1,) * num_models
    alone = tuple(votes.miou(single(model, num_models), everything) for model in range(num_models))
    equal = votes.miou(even, everything)
    if len(images) < NUM_FOLDS:
        return VoteChoice(shares(even), alone, equal, None, None)
    picks = greedy(votes, num_models, everything)
    honest = out_of_fold(votes, num_models)
    taken = picks if honest > equal else even
    return VoteChoice(shares(taken), alone, equal, votes.miou(picks, everything), honest)


@dataclass
class JointVotes:
    """Confusions of joint votes on a list of images, each combination of models counted once."""

    images: Sequence[VotedImage]
    num_classes: int
    known: dict[Picks, NDArray[np.int64]] = field(default_factory=dict)

    def confusions(self, picks: Picks) -> NDArray[np.int64]:
        """Return the confusion of each image: (N, C, C) int64."""
        reduced = tuple(int(count) for count in np.array(picks) // max(1, np.gcd.reduce(picks)))
        if reduced not in self.known:
            self.known[reduced] = np.stack([self.confusion(image, reduced) for image in self.images])
        return self.known[reduced]

    def confusion(self, image: VotedImage, picks: Picks) -> NDArray[np.int64]:
        """Return the confusion of one image."""
        total = np.zeros(image.values.shape[1:], np.float32)
        for count, values in zip(picks, image.values, strict=True):
            if count:
                total += np.float32(count) * values
        return confusion_matrix(image.truth, total.argmax(axis=0).astype(np.uint8), self.num_classes)

    def miou(self, picks: Picks, chosen: NDArray[np.bool_]) -> float:
        """Return the mIoU on some images, over the classes that their truth holds. chosen: (N,) bool."""
        return mean_iou(self.confusions(picks)[chosen].sum(axis=0))


def mean_iou(total: NDArray[np.int64]) -> float:
    """Return the mIoU over the classes in the truth of a (C, C) confusion; 0.0 where it holds none."""
    classes = present_classes(total)
    return miou(total, classes) if classes.any() else 0.0


def greedy(votes: JointVotes, num_models: int, chosen: NDArray[np.bool_]) -> Picks:
    """Return the picks that vote best on some images: of all that the greedy path passes, the earliest of equals."""
    picks: Picks = (0,) * num_models
    path: list[tuple[float, Picks]] = []
    for _ in range(NUM_PICKS):
        nexts = [add(picks, model) for model in range(num_models)]
        scores = [votes.miou(candidate, chosen) for candidate in nexts]
        picks = nexts[int(np.argmax(scores))]
        path.append((max(scores), picks))
    return max(path, key=lambda step: step[0])[1]


def out_of_fold(votes: JointVotes, num_models: int) -> float:
    """Return the mIoU of all images, each voted on with the weights that the other folds choose."""
    folds = fold_of_images(len(votes.images))
    total = np.zeros((votes.num_classes, votes.num_classes), np.int64)
    for fold in range(int(folds.max()) + 1):
        picks = greedy(votes, num_models, folds != fold)
        total += votes.confusions(picks)[folds == fold].sum(axis=0)
    return mean_iou(total)


def single(model: int, num_models: int) -> Picks:
    """Return the picks of one model alone."""
    return add((0,) * num_models, model)


def add(picks: Picks, model: int) -> Picks:
    """Return picks with one more of a model."""
    return tuple(count + (index == model) for index, count in enumerate(picks))


def shares(picks: Picks) -> tuple[float, ...]:
    """Return the weights that picks give."""
    return tuple(count / sum(picks) for count in picks)
