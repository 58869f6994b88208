import numpy as np
import pytest

from benchmarks.reliability import CHECKPOINTS, CONFIDENCE, VIEWS, compared, page, row_of
from segcore.pseudo.predictions import Prediction


def prediction(views, checkpoints=None):
    maps = (np.array([[0, 0, 1, 1]], np.uint8), np.full((1, 4), 37, np.uint8))
    return Prediction("a", *maps, agreement=views, checkpoint_agreement=checkpoints)


def test_an_image_has_its_measures_and_its_miou():
    row = row_of(prediction(0.7, 0.4), np.array([[0, 0, 0, 1]], np.uint8), 2)
    assert (row[VIEWS], row[CHECKPOINTS], row["miou"]) == (0.7, 0.4, pytest.approx((2 / 3 + 1 / 2) / 2))
    assert row[CONFIDENCE] == pytest.approx(0.9, abs=0.01)


def test_what_a_run_did_not_measure_is_left_out():
    rows = [row_of(prediction(None), np.array([[0, 0, right, 1]], np.uint8), 2) for right in (0, 1)]
    assert set(rows[0]) == {"image_id", "miou", CONFIDENCE}
    assert set(compared([{**row, CONFIDENCE: index} for index, row in enumerate(rows)])) == {CONFIDENCE}


def test_a_measure_that_ranks_as_the_truth_does_has_correlation_one_and_parts_the_halves():
    rows = [{VIEWS: n / 10, CONFIDENCE: -n, "miou": n / 10} for n in (1, 4, 2, 3)]
    found = compared(rows)
    assert found[VIEWS] == pytest.approx({"correlation": 1.0, "better": 0.35, "worse": 0.15})
    assert found[CONFIDENCE]["correlation"] == pytest.approx(-1.0)
    text = page({"run": "r", "of": "gate images", "images": rows, "measures": found, "environment": {}}, "2026-01-02")
    assert "Run r, round 0, 4 gate images." in text
    assert "| agreement of views | 1.00 | 0.350 | 0.150 |" in text
