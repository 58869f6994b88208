from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segcore.errors import DataError
from segcore.trust.confusion import ConfusionTable, aacc, confusion_matrix, iou_from, macc, miou, present_classes

TRUTH = np.array([[0, 0, 1], [1, 255, 2]], dtype=np.uint8)
PRED = np.array([[0, 1, 1], [1, 0, 0]], dtype=np.uint8)


def test_rows_are_truth_columns_are_prediction_and_ignored_pixels_do_not_count():
    counts = confusion_matrix(TRUTH, PRED, 4)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert counts.dtype == np.int64


def test_metrics_are_those_computed_by_hand():
    counts = confusion_matrix(TRUTH, PRED, 4)
    np.testing.assert_allclose(iou_from(counts), [1 / 3, 2 / 3, 0.0, np.nan])
    assert miou(counts) == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)
    assert aacc(counts) == pytest.approx(3 / 5)
    assert macc(counts) == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert present_classes(counts).tolist() == [True, True, True, False]


def test_a_class_that_is_only_predicted_counts_as_zero_for_mmseg_but_not_in_a_fixed_class_set():
    counts = confusion_matrix(np.zeros((1, 4), np.uint8), np.array([[0, 0, 0, 1]], np.uint8), 2)
    assert miou(counts) == pytest.approx((0.75 + 0) / 2)
    assert miou(counts, present_classes(counts)) == pytest.approx(0.75)


def test_nothing_to_score_gives_nan_without_a_warning():
    counts = confusion_matrix(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), 3)
    assert counts.sum() == 0
    assert all(np.isnan(metric(counts)) for metric in (miou, aacc, macc))


@pytest.mark.parametrize(
    ("truth", "pred", "message"),
    [
        (np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), "shape"),
        (np.full((1, 1), 7, np.uint8), np.zeros((1, 1), np.uint8), "truth must hold class ids below 3"),
        (np.zeros((1, 1), np.uint8), np.full((1, 1), 255, np.uint8), "prediction must hold class ids below 3"),
    ],
)
def test_maps_that_do_not_fit_are_refused(truth, pred, message):
    with pytest.raises(DataError, match=message):
        confusion_matrix(truth, pred, 3)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(0, 5))
def test_sums_of_parts_equal_the_whole_and_the_file_gives_back_what_was_written(tmp_path_factory, seed, c, n):
    rng = np.random.default_rng(seed)
    truth = rng.choice([*range(c), 255], size=(n, 4, 5)).astype(np.uint8)
    pred = rng.integers(0, c, size=(n, 4, 5)).astype(np.uint8)
    counts = np.array([confusion_matrix(t, p, c) for t, p in zip(truth, pred, strict=True)], dtype=np.int64)
    table = ConfusionTable(tuple(f"i{k}" for k in range(n)), counts.reshape(n, c, c))
    whole = confusion_matrix(truth.reshape(-1, 5), pred.reshape(-1, 5), c)
    assert (table.total() == whole).all()
    path = tmp_path_factory.mktemp("confusion") / "confusion.parquet"
    table.write(path)
    read = ConfusionTable.read(path)
    assert read.image_ids == table.image_ids
    assert (read.counts == table.counts).all()


def test_select_reorders_and_names_a_missing_image():
    table = ConfusionTable(("a", "b"), np.array([[[1]], [[2]]], dtype=np.int64))
    assert table.select(("b", "a")).counts.ravel().tolist() == [2, 1]
    with pytest.raises(DataError, match="'c'"):
        table.select(("c",))


def test_a_file_that_is_no_confusion_table_is_named(tmp_path: Path):
    path = tmp_path / "x.parquet"
    path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"x\.parquet must be a confusion table"):
        ConfusionTable.read(path)


def test_a_table_with_an_image_twice_is_refused():
    with pytest.raises(DataError, match="each image once"):
        ConfusionTable(("a", "a"), np.zeros((2, 1, 1), np.int64))
