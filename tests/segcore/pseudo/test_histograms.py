import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segcore.errors import DataError
from segcore.pseudo.confidence import count_levels
from segcore.pseudo.histograms import pool_histogram, read_calib_histogram, write_calib_histogram
from segcore.pseudo.predictions import Prediction


def prediction(image_id, label_map, confidence):
    return Prediction(image_id, np.array(label_map, np.uint8), np.array(confidence, np.uint8))


def nonzero(histogram):
    return {tuple(int(i) for i in cell): int(histogram[tuple(cell)]) for cell in np.argwhere(histogram)}


A = prediction("a", [[0, 0, 1]], [[7, 7, 255]])
B = prediction("b", [[0], [1]], [[9], [255]])


def counted(item, num_classes=None):
    return item.image_id, count_levels(item.label_map, item.confidence, num_classes)


@pytest.mark.parametrize("stored", [None, 3, 5])
def test_the_histograms_of_images_add_up_however_many_classes_each_has(stored):
    total = pool_histogram([counted(A), counted(B, stored)], 3)
    assert total.shape == (3, 256)
    assert nonzero(total) == {(0, 7): 2, (0, 9): 1, (1, 255): 2}


def test_a_class_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="a: predicted class ids must be under 1, got 1"):
        pool_histogram([counted(A)], 1)


def test_calib_cells_hold_pixels_and_correct_pixels_without_ignored_truth(tmp_path):
    truth = {"a": np.array([[0, 1, 255]], np.uint8), "b": np.array([[0], [1]], np.uint8)}
    assert write_calib_histogram(tmp_path / "h", [A, B], truth, 2) == 2
    histogram = read_calib_histogram(tmp_path / "h")
    assert histogram.image_ids == ("a", "b")
    columns = (histogram.image_index, histogram.class_id, histogram.level, histogram.count, histogram.correct)
    assert [tuple(map(int, row)) for row in zip(*columns, strict=True)] == [
        (0, 0, 7, 2, 1),
        (1, 0, 9, 1, 1),
        (1, 1, 255, 1, 1),
    ]
    assert nonzero(histogram.pooled(2)) == {
        (0, 7, 0): 2,
        (0, 7, 1): 1,
        (0, 9, 0): 1,
        (0, 9, 1): 1,
        (1, 255, 0): 1,
        (1, 255, 1): 1,
    }


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 999))
def test_pooled_calib_cells_are_the_histogram_of_the_scored_pixels(tmp_path_factory, seed):
    random = np.random.default_rng(seed)
    item = Prediction("x", random.integers(0, 4, (5, 6), np.uint8), random.integers(0, 256, (5, 6), np.uint8))
    path = tmp_path_factory.mktemp("h") / "h"
    write_calib_histogram(path, [item], {"x": item.label_map}, 4)
    pooled = read_calib_histogram(path).pooled(4)
    assert (pooled[..., 0] == count_levels(item.label_map, item.confidence, 4)).all()
    assert (pooled[..., 1] == pooled[..., 0]).all()


def test_truth_of_another_size_is_refused(tmp_path):
    with pytest.raises(DataError, match="a: prediction is"):
        write_calib_histogram(tmp_path / "h", [A], {"a": np.zeros((3, 1), np.uint8)}, 2)


def test_a_damaged_histogram_is_refused_by_name(tmp_path):
    (tmp_path / "h").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="must be a readable calib histogram"):
        read_calib_histogram(tmp_path / "h")
