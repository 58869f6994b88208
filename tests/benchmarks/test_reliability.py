import click
import numpy as np
import pytest

from benchmarks.reliability import compared, page, row_of
from segcore.pseudo.predictions import Prediction


def prediction(agreement):
    return Prediction("a", np.array([[0, 0, 1, 1]], np.uint8), np.full((1, 4), 37, np.uint8), agreement=agreement)


def test_an_image_has_its_measures_and_its_miou():
    row = row_of(prediction(0.7), np.array([[0, 0, 0, 1]], np.uint8), 2)
    assert (row["agreement"], row["miou"]) == (0.7, pytest.approx((2 / 3 + 1 / 2) / 2))
    assert row["mean confidence"] == pytest.approx(0.9, abs=0.01)


def test_one_view_is_refused():
    with pytest.raises(click.ClickException, match="a has one view"):
        row_of(prediction(None), np.zeros((1, 4), np.uint8), 2)


def test_a_measure_that_ranks_as_the_truth_does_has_correlation_one_and_parts_the_halves():
    rows = [{"agreement": n / 10, "mean confidence": -n, "miou": n / 10} for n in (1, 4, 2, 3)]
    found = compared(rows)
    assert found["agreement"] == pytest.approx({"correlation": 1.0, "better": 0.35, "worse": 0.15})
    assert found["mean confidence"]["correlation"] == pytest.approx(-1.0)
    text = page({"run": "r", "images": rows, "measures": found, "environment": {}}, "2026-01-02")
    assert "| agreement | 1.00 | 0.350 | 0.150 |" in text
