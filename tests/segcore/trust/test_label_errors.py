import numpy as np
import pytest

from segcore.pseudo.confidence import NUM_LEVELS, quantise
from segcore.trust.label_errors import NEVER_SURE, Suspicion, agreeing_levels, ranked, sure_levels, suspicion

TRUTH = np.array([[0, 0, 0, 0], [1, 1, 1, 255]], np.uint8)


def levels(*rows):
    return quantise(np.array(rows))


def test_only_pixels_whose_prediction_is_their_label_tell_how_sure_is_sure():
    label_map = np.array([[0, 0, 1, 0], [1, 0, 1, 0]], np.uint8)
    found = agreeing_levels(TRUTH, label_map, np.full((2, 4), 40, np.uint8), 3)
    assert found.shape == (3, NUM_LEVELS)
    assert found.sum(axis=1).tolist() == [3, 2, 0]
    assert found[:, 40].tolist() == [3, 2, 0]


def test_a_class_is_surely_predicted_from_the_mean_confidence_of_its_right_pixels():
    counts = np.zeros((3, NUM_LEVELS), np.int64)
    low, high = (int(quantise(np.array([p]))[0]) for p in (0.5, 0.9))
    counts[0, [low, high]] = 1
    sure = sure_levels(counts)
    assert low < sure[0] < high
    assert sure[1:].tolist() == [NEVER_SURE, NEVER_SURE]


def test_sure_contradictions_are_counted_and_unsure_ones_ignored_ones_and_agreement_are_not():
    label_map = np.array([[1, 1, 1, 0], [1, 0, 1, 0]], np.uint8)
    confidence = levels([0.99, 0.99, 0.2, 0.99], [0.99, 0.99, 0.99, 0.99])
    sure = np.array([int(quantise(np.array([0.9]))[0])] * 2)
    found = suspicion("a", TRUTH, label_map, confidence, sure)
    assert found == Suspicion("a", num_pixels=7, num_sure=3, given=0, suggested=1, num_pair=2)
    assert found.share == pytest.approx(3 / 7)


def test_an_image_that_nobody_contradicts_and_one_without_labels_are_not_ranked():
    sure = np.zeros(2, np.int64)
    agreed = suspicion("agreed", TRUTH[:, :3], TRUTH[:, :3], levels([0.9] * 3, [0.9] * 3), sure)
    empty = suspicion("empty", np.full((2, 2), 255, np.uint8), TRUTH[:, :2], levels([0.9] * 2, [0.9] * 2), sure)
    assert (agreed.num_sure, agreed.given) == (0, None)
    assert (empty.num_pixels, empty.share) == (0, 0.0)
    assert ranked([agreed, empty]) == ()


def test_the_largest_share_comes_first_and_equal_ones_by_name():
    found = [Suspicion(name, 10, num, 0, 1, num) for name, num in (("c", 2), ("b", 5), ("a", 2))]
    assert [item.image_id for item in ranked(found)] == ["b", "a", "c"]


def test_a_planted_wrong_label_is_found_among_right_ones():
    rng = np.random.default_rng(0)
    images, counts = {}, np.zeros((4, NUM_LEVELS), np.int64)
    for number in range(30):
        truth = np.repeat(np.repeat(rng.integers(0, 4, (4, 4), dtype=np.uint8), 8, 0), 8, 1)
        noisy = rng.random(truth.shape) < 0.1  # the model errs on a tenth of the pixels, less surely
        label_map = np.where(noisy, (truth + 1) % 4, truth).astype(np.uint8)
        confidence = quantise(np.where(noisy, rng.uniform(0.3, 0.9, truth.shape), rng.uniform(0.6, 1, truth.shape)))
        if number == 17:
            truth = np.where(truth == 2, 3, truth).astype(np.uint8)
        images[f"{number:02d}"] = (truth, label_map, confidence)
        counts += agreeing_levels(truth, label_map, confidence, 4)
    sure = sure_levels(counts)
    worst = ranked([suspicion(name, *maps, sure) for name, maps in images.items()])[0]
    assert (worst.image_id, worst.given, worst.suggested) == ("17", 3, 2)
