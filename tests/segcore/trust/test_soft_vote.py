"""Choosing members of an ensemble and their weights by their soft vote on calib."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segcore.trust.soft_vote import JointVotes, VotedImage, choose_weights, greedy

NUM_CLASSES = 3


def said(truth: NDArray[np.uint8], right: NDArray[np.bool_], sure: float) -> NDArray[np.float16]:
    """Return (C, h, w) probabilities of a model: `sure` for the truth where it is right, else for the next class."""
    named = np.where(right, truth, (truth + 1) % NUM_CLASSES)
    values = np.full((NUM_CLASSES, *truth.shape), (1 - sure) / (NUM_CLASSES - 1), np.float16)
    np.put_along_axis(values, named[None].astype(np.int64), np.float16(sure), axis=0)
    return values


def images_of(*rates: float, num: int = 20, sure: float = 0.8) -> list[VotedImage]:
    """Return images on which models are right at these rates, independently of each other."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(num):
        truth = rng.integers(0, NUM_CLASSES, (12, 12)).astype(np.uint8)
        values = [said(truth, rng.random(truth.shape) < rate, sure) for rate in rates]
        images.append(VotedImage(np.stack(values), truth))
    return images


def test_a_model_that_only_harms_the_vote_is_no_member() -> None:
    choice = choose_weights(images_of(0.8, 0.8, 0.8, 0.05), 4, NUM_CLASSES)
    assert choice.weights[3] == 0
    assert sum(choice.weights) == pytest.approx(1)
    assert choice.chosen is not None
    assert choice.out_of_fold is not None
    assert choice.chosen >= choice.out_of_fold > choice.equal
    assert choice.chosen > max(choice.alone)


def test_weights_that_are_no_better_on_images_they_were_chosen_without_stay_equal() -> None:
    choice = choose_weights(images_of(0.7, 0.7, 0.7), 3, NUM_CLASSES)
    assert choice.weights == pytest.approx((1 / 3,) * 3)
    assert choice.is_equal
    assert choice.out_of_fold is not None
    assert choice.out_of_fold <= choice.equal


def test_fewer_images_than_folds_allow_no_choice() -> None:
    choice = choose_weights(images_of(0.9, 0.1, num=4), 2, NUM_CLASSES)
    assert (choice.weights, choice.chosen, choice.out_of_fold) == ((0.5, 0.5), None, None)


def test_a_model_may_be_picked_several_times() -> None:
    truth = np.array([[0, 0, 1, 1]], np.uint8)
    strong = np.array([[0.55, 0.55, 0.45, 0.45], [0.45, 0.45, 0.55, 0.55]])  # right everywhere, never sure
    loud = np.array([[0.2, 0.62, 0.1, 0.1], [0.8, 0.38, 0.9, 0.9]])  # wrong once, and sure of it
    image = VotedImage(np.stack([strong, loud])[:, :, None].astype(np.float16), truth)
    votes = JointVotes([image], 2)
    assert votes.miou((1, 1), np.array([True])) < 1
    assert votes.miou((7, 1), np.array([True])) == 1
    assert greedy(votes, 2, np.array([True])) == (1, 0)


def test_pixels_without_truth_and_classes_without_pixels_do_not_count() -> None:
    truth = np.array([[0, 255]], np.uint8)
    image = VotedImage(np.array([[[[0.9, 0.1]], [[0.1, 0.9]], [[0.0, 0.0]]]], np.float16), truth)
    assert JointVotes([image], 3).miou((1,), np.array([True])) == 1
