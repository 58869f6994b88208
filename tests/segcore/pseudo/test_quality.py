import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segcore.pseudo.components import find_components
from segcore.pseudo.confidence import dequantise
from segcore.pseudo.filtering import PseudoLabel
from segcore.pseudo.quality import QualityTally, audit_rows, count_pairs, quality_card
from segcore.pseudo.thresholds import Thresholds

CUT = Thresholds(("background", "bottle"), "fixed", 1, (0.5, 0.6), (12, 15), (None, None), (None, None))


def array(*rows):
    return np.array(rows, np.uint8)


def pseudo_label(kept, level=32):
    components = find_components(kept.reshape(1, -1))[1]
    return PseudoLabel(kept, components, components.area_px * dequantise(np.array(level)))


def card_of(predicted, kept, truth_share=None, previous=None, level=32):
    tally = QualityTally(2)
    tally.add(pseudo_label(kept, level), previous)
    return quality_card(tally, CUT, np.bincount(predicted.ravel(), minlength=2), truth_share)


def test_the_card_says_what_was_kept_of_each_class():
    card = card_of(array([0, 0, 0, 1]), array([0, 255, 255, 1]), truth_share=(0.75, 0.25))
    confidence = pytest.approx(float(dequantise(np.array(32))))
    assert (card["coverage"], card["share_ignored"], card["mean_confidence"]) == (0.5, 0.5, confidence)
    assert card["classes"][0] == {
        "name": "background",
        "tau": 0.5,
        "predicted_pixels": 3,
        "kept_pixels": 1,
        "num_images": 1,
        "coverage": pytest.approx(1 / 3),
        "predicted_share": 0.75,
        "kept_share": 0.5,
        "truth_share": 0.75,
        "mean_confidence": confidence,
    }


def test_nothing_kept_gives_none_and_not_a_division_by_zero():
    card = card_of(array([0, 0]), array([255, 255]))
    assert card["coverage"] == 0.0
    assert card["mean_confidence"] is None
    assert card["classes"][1]["coverage"] is None


def test_churn_is_what_changed_class_among_pixels_kept_in_both_rounds():
    card = card_of(array([0, 0, 1, 1]), array([0, 255, 1, 1]), previous=array([0, 0, 0, 255]))
    assert card["churn"] == {"changed": 0.5, "added": 0.25, "dropped": 0.25}


def test_without_a_last_round_there_is_no_churn():
    assert card_of(array([0]), array([0]))["churn"] is None


def test_tallies_of_disjoint_images_add_up():
    labels = [pseudo_label(array(0, 1, 255)), pseudo_label(array(1, 1, 1)), pseudo_label(array(255, 0, 255))]
    whole, first, second = QualityTally(2), QualityTally(2), QualityTally(2)
    for tally, parts in ((whole, labels), (first, labels[:1]), (second, labels[1:])):
        for label in parts:
            tally.add(label, array(0, 0, 0))
    first.merge(second)
    cards = [quality_card(tally, CUT, np.array([5, 4]), None) for tally in (first, whole)]
    assert cards[0] == cards[1]


def test_audit_tells_precision_coverage_and_recall():
    truth, labels = array([0, 0, 0, 1, 1, 255]), array([0, 0, 255, 0, 1, 1])
    rows = {row.name: row for row in audit_rows(count_pairs(truth, labels, 2)[:-1], ("background", "bottle"))}
    background, bottle, total = rows["background"], rows["bottle"], rows["all"]
    assert (background.kept_pixels, background.truth_pixels) == (3, 3)
    assert (background.precision, background.coverage, background.recall) == (2 / 3, 2 / 3, 2 / 3)
    assert (bottle.precision, bottle.coverage, bottle.recall) == (1.0, 1.0, 0.5)
    assert (total.precision, total.coverage, total.recall) == (0.75, 0.8, 0.6)


@given(st.integers(0, 9999))
def test_recall_is_at_most_coverage_and_precision_at_most_one(seed):
    random = np.random.default_rng(seed)
    truth, labels = random.choice(array(0, 1, 2, 255), (2, 4, 5))
    for row in audit_rows(count_pairs(truth, labels, 3)[:-1], ("a", "b", "c")):
        assert row.precision is None or 0 <= row.precision <= 1
        assert row.recall is None or 0 <= row.recall <= (row.coverage or 0) <= 1
