import json

import numpy as np
import pytest

from segcore.pseudo.histograms import CalibHistogram
from segcore.trust.calibration import bin_of_levels, calibration_card, fold_of_images
from segcore.trust.temperature import scaled_levels

NAMES = ("background", "bottle", "battery")


def teacher(num_images, temperature, seed=0):
    """A teacher of two classes whose confidences are right after scaling by a temperature; 2000 pixels an image."""
    rng = np.random.default_rng(seed)
    cells = []
    for image in range(num_images):
        for class_id in (0, 1):
            level, count = np.unique(rng.normal(50, 20, 1000).clip(4, 120).astype(int), return_counts=True)
            correct = rng.binomial(count, scaled_levels(temperature)[level])
            cells.append(np.stack([np.full(len(level), image), np.full(len(level), class_id), level, count, correct]))
    return CalibHistogram(tuple(f"{image:03d}" for image in range(num_images)), *np.concatenate(cells, axis=1))


def slow_ece(histogram, chosen, confidence, bins):
    """The calibration error, pixel bin by pixel bin. confidence: of each cell; bins: of each level."""
    total, error = 0, 0.0
    for b in range(15):
        cells = [k for k in np.flatnonzero(chosen) if bins[histogram.level[k]] == b]
        pixels = sum(histogram.count[k] for k in cells)
        sure = sum(histogram.count[k] * confidence[k] for k in cells)
        right = sum(histogram.correct[k] for k in cells)
        total, error = total + pixels, error + abs(sure - right)
    return error / total


def test_a_teacher_that_is_too_sure_is_found_out_and_one_temperature_mends_it():
    card = calibration_card(teacher(20, 2.0), NAMES, 0)
    assert card["temperature"] == pytest.approx(2.0, rel=0.05)
    assert card["all"]["confidence"] > card["all"]["accuracy"] + 0.05
    before, after = card["all"]["ece"]["before"], card["all"]["ece"]["after"]
    assert before["low"] > 0.05
    assert after["high"] < 0.02


def test_a_calibrated_teacher_has_hardly_any_error():
    card = calibration_card(teacher(20, 1.0), NAMES, 0)
    assert card["all"]["ece"]["before"]["point"] < 0.01
    assert card["temperature"] == pytest.approx(1.0, rel=0.05)


def test_the_error_is_that_of_pixels_sorted_into_bins_one_by_one():
    histogram = teacher(4, 1.5)
    bottle = histogram.class_id == 1
    bins = bin_of_levels(np.bincount(histogram.level[bottle], histogram.count[bottle], 256))
    expected = slow_ece(histogram, bottle, scaled_levels(1.0)[histogram.level], bins)
    card = calibration_card(histogram, NAMES, 0)
    assert card["classes"][1]["ece"]["before"]["point"] == pytest.approx(expected)


def test_what_is_left_after_scaling_is_measured_on_images_the_temperature_was_not_fitted_on():
    """Each of two images is right where the other is wrong: out of fold, scaling by the other makes it worse."""
    level, count = np.array([60, 60]), np.array([100, 100])
    histogram = CalibHistogram(("a", "b"), np.array([0, 1]), np.array([0, 0]), level, count, np.array([100, 40]))
    ece = calibration_card(histogram, NAMES, 0)["all"]["ece"]
    expected = abs((100 * scaled_levels(10.0)[60] + 100 * scaled_levels(0.1)[60]) - 140) / 200
    assert ece["after"]["point"] == pytest.approx(expected, abs=1e-3)


def test_bins_hold_equal_shares_and_add_up():
    card = calibration_card(teacher(10, 1.3), NAMES, 0)
    bins = card["classes"][0]["bins"]
    assert len(bins) == 15
    assert sum(b["share"] for b in bins) == pytest.approx(1)
    assert max(b["share"] for b in bins) < 0.12
    assert all(b["low"] <= b["accuracy"] <= b["high"] for b in bins)
    sure = [b["confidence"] for b in bins]
    assert sure == sorted(sure)


def test_a_class_that_is_never_predicted_has_no_error_and_no_bins():
    entry = calibration_card(teacher(3, 1.0), NAMES, 0)["classes"][2]
    assert entry == {
        "name": "battery", "num_images": 0, "num_pixels": 0, "accuracy": None, "confidence": None,
        "ece": {"before": None, "after": None}, "bins": [],
    }  # fmt: skip


@pytest.mark.parametrize("num_images", [0, 1, 2])
def test_few_images_give_a_card_that_json_holds(num_images):
    histogram = teacher(num_images, 1.0) if num_images else CalibHistogram((), *[np.zeros(0, np.int64)] * 5)
    card = calibration_card(histogram, NAMES, 0)
    assert json.loads(json.dumps(card, allow_nan=False)) == card
    known = card["all"]["ece"]
    assert (known["before"] is None, known["after"] is None) == (num_images == 0, num_images < 2)
    if num_images == 1:
        assert (known["before"]["low"], known["before"]["high"]) == (0.0, 1.0)


def test_equal_seeds_give_equal_cards():
    histogram = teacher(6, 1.4)
    assert calibration_card(histogram, NAMES, 7) == calibration_card(histogram, NAMES, 7)


@pytest.mark.parametrize(("num_images", "folds"), [(0, []), (3, [0, 1, 2]), (7, [0, 0, 1, 2, 2, 3, 4])])
def test_folds_are_blocks_of_neighbours(num_images, folds):
    assert fold_of_images(num_images).tolist() == folds
