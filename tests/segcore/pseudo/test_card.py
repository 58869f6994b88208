"""The parts of a quality card on numbers that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from segcore.pseudo.card import CardSpec, full_card
from segcore.pseudo.churn import churn_card, count_changes
from segcore.pseudo.confidence import LEVEL_EDGES
from segcore.pseudo.expected import calibration_error, expected_classes, image_counts
from segcore.pseudo.histograms import CalibHistogram
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.pseudo.shift import shift_card
from segcore.pseudo.stored import StoredPredictions, sampled_ids
from segcore.pseudo.thresholds import Thresholds

# image, class, level, pixels, right
CELLS = np.array([[0, 0, 10, 100, 50], [0, 0, 200, 100, 100], [1, 0, 200, 300, 270], [1, 1, 200, 50, 0]])
CALIB = CalibHistogram(("a", "b"), *CELLS.T)


def test_expected_precision_counts_what_reaches_the_threshold():
    high, other = expected_classes(CALIB, (100, 256))
    assert high["precision"]["point"] == pytest.approx(370 / 400)
    assert high["precision"]["low"] < 370 / 400 < high["precision"]["high"]
    assert high["calib_coverage"]["point"] == pytest.approx(400 / 500)
    assert (high["accuracy"], high["num_calib"]) == (420 / 500, 2)
    assert high["gap"] == pytest.approx((100 * LEVEL_EDGES[10] + 400 * LEVEL_EDGES[200]) / 500 - 420 / 500)
    assert other["precision"] is None  # nothing reaches 256
    assert other["accuracy"] == 0.0


def test_image_counts_are_by_image_and_class():
    counts = image_counts(CALIB, (100, 0))
    assert counts.predicted.tolist() == [[200, 0], [300, 50]]
    assert counts.kept.tolist() == [[100, 0], [300, 50]]
    assert counts.correct.tolist() == [[100, 0], [270, 0]]


def test_calibration_error_is_the_mean_distance_of_confidence_and_accuracy():
    level = 16  # a confidence of 1 - 1/e, in one bin
    one = CalibHistogram(("a",), *np.array([[0, 0, level, 100, 40]]).T)
    assert calibration_error(one, 1) == pytest.approx(1 - np.exp(-1) - 0.4)
    assert calibration_error(CalibHistogram((), *np.zeros((5, 0), np.int64)), 1) is None


def levels_of(rng, center, num_images):
    drawn = np.clip(rng.normal(center + rng.normal(0, 15, (num_images, 1)), 20, (num_images, 500)), 0, 255)
    return np.stack([np.bincount(row.astype(int), minlength=256) for row in drawn]).astype(float)


def test_a_strange_pool_is_far_from_calib_and_chance_does_not_explain_it():
    rng = np.random.default_rng(0)
    found = shift_card(levels_of(rng, 120, 40), levels_of(rng, 90, 200), seed=1)
    assert found["distance"] > 0.3
    assert found["p_value"] == 0.001
    assert found["mean_confidence_is"] == "lower"


def test_equal_pools_are_told_apart_as_often_as_the_level_says():
    rng = np.random.default_rng(1)
    p_values = [
        shift_card(levels_of(rng, 100, 15), levels_of(rng, 100, 60), seed=number)["p_value"] for number in range(60)
    ]
    assert np.mean(np.array(p_values) <= 0.1) < 0.25
    assert max(p_values) > 0.5


def test_one_image_a_side_says_nothing():
    assert shift_card(np.ones((1, 256)), np.ones((5, 256)), seed=0) is None


def write(path, **label_maps):
    with PredictionWriter(path) as writer:
        for image_id, label_map in label_maps.items():
            maps = np.array(label_map, np.uint8)
            writer.write(Prediction(image_id, maps, np.full(maps.shape, 100, np.uint8)))
    return path


def big(class_id):
    return np.full((40, 40), class_id)


def test_churn_is_of_the_pixels_that_were_of_the_class(tmp_path):
    earlier = write(tmp_path / "e", a=big(0), b=big(1), gone=big(0))
    now = write(tmp_path / "n", a=np.repeat([[0], [1]], [30, 10], 0) * np.ones((1, 40)), b=big(1), new=big(0))
    counts = count_changes(("a", "b", "new"), StoredPredictions((earlier,)), StoredPredictions((now,)), 3)
    assert counts.tolist() == [[1200, 400, 0], [0, 1600, 0], [0, 0, 0]]
    card = churn_card(counts)
    assert card == {"num_pixels": 3200, "changed": 0.125, "classes": [0.25, 0.0, None]}


def test_stored_predictions_are_found_in_whatever_file_they_are(tmp_path):
    stored = StoredPredictions((write(tmp_path / "1", a=big(0), b=big(1)), write(tmp_path / "2", c=big(2))))
    assert [int(stored[name].label_map[0, 0]) for name in ("c", "a", "b", "c")] == [2, 0, 1, 2]
    assert "d" not in stored


def test_the_sample_takes_whole_row_groups_and_is_always_the_same(tmp_path):
    ids = [f"{number:03d}" for number in range(40)]
    path = write(tmp_path / "p", **dict.fromkeys(ids, np.zeros((2, 2))))
    assert sampled_ids((path,), frozenset(ids), 100) == tuple(ids)
    few = sampled_ids((path,), frozenset(ids), 10)
    assert 10 <= len(few) < 20
    assert few == sampled_ids((path,), frozenset(ids), 10) == tuple(sorted(few))
    assert set(sampled_ids((path,), frozenset(ids[:3]), 10)) == set(ids[:3])


def test_a_card_holds_all_of_it_and_calib_is_no_part_of_the_pool(tmp_path):
    now = write(tmp_path / "n", a=big(0), b=big(1), calib=big(1))
    earlier = write(tmp_path / "e", a=big(0), b=big(0))
    rows = [{"name": name, "kept_share": 0.5} for name in ("x", "y")]
    quality = {
        "round_index": 2, "policy": "fixed", "num_images": 2, "coverage": 1.0, "share_ignored": 0.0, "churn": None,
        "classes": rows,
    }  # fmt: skip
    cut = Thresholds(("x", "y"), "fixed", 2, (0.5, 0.5), (12, 12), (1.0, 1.0), (None, None))
    card = full_card(CardSpec(quality, cut, CALIB, frozenset("ab"), (now,), (earlier,), None, 0))
    assert (card["num_sampled"], card["num_calib"]) == (2, 2)
    assert card["churn"] == {"last": {"changed": 0.5}, "first": None}
    assert [row["churn_last"] for row in card["classes"]] == [0.5, None]
    assert card["classes"][1]["pool_confidence"] == pytest.approx(LEVEL_EDGES[100])
    assert card["accuracy"] == pytest.approx(420 / 550)
