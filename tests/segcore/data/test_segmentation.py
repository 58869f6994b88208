from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from segcore.data.segmentation import Polygons, Rle, area_px, parse_segmentation, to_mask, to_rle

masks = st.tuples(st.integers(1, 30), st.integers(1, 30)).flatmap(lambda shape: arrays(np.bool_, shape))


@given(masks)
def test_compressed_rle_decodes_to_what_pycocotools_encoded(mask: np.ndarray):
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    value = {"size": list(mask.shape), "counts": encoded["counts"].decode()}
    rle = parse_segmentation(value, *mask.shape)
    assert isinstance(rle, Rle)
    np.testing.assert_array_equal(to_mask(rle), mask)
    assert area_px(rle) == mask.sum()


@given(masks)
def test_uncompressed_rle_decodes_to_its_mask(mask: np.ndarray):
    column_major = mask.T.ravel()
    changes = np.flatnonzero(np.diff(column_major)) + 1
    counts = np.diff(np.concatenate([[0], changes, [column_major.size]])).tolist()
    counts = [0, *counts] if column_major[0] else counts
    rle = parse_segmentation({"size": list(mask.shape), "counts": counts}, *mask.shape)
    assert isinstance(rle, Rle)
    np.testing.assert_array_equal(to_mask(rle), mask)


@given(st.text(max_size=40), st.integers(1, 50), st.integers(1, 50))
def test_any_text_is_either_a_mask_of_the_right_size_or_refused(text: str, height: int, width: int):
    try:
        rle = parse_segmentation({"size": [height, width], "counts": text}, height, width)
    except ValueError:
        return
    assert isinstance(rle, Rle)
    assert to_mask(rle).shape == (height, width)


def test_a_polygon_covers_what_pycocotools_says():
    rle = to_rle(parse_segmentation([[2, 1, 6, 1, 6, 4, 2, 4]], 8, 10), 8, 10)
    expected = np.zeros((8, 10), bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(to_mask(rle), expected)


def test_several_polygons_are_united_so_an_inner_one_is_no_hole():
    outer, inner = [0, 0, 8, 0, 8, 8, 0, 8], [2, 2, 6, 2, 6, 6, 2, 6]
    assert area_px(to_rle(Polygons((tuple(outer), tuple(inner))), 8, 8)) == 64


def test_a_polygon_over_the_edge_is_clipped():
    rle = to_rle(parse_segmentation([[-3, -3, 4, -3, 4, 4, -3, 4]], 8, 8), 8, 8)
    expected = np.zeros((8, 8), bool)
    expected[:4, :4] = True
    np.testing.assert_array_equal(to_mask(rle), expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "must be a list of polygons or an RLE"),
        ([], "empty"),
        ([[]], "at least 6 numbers"),
        ([[1, 1, 2, 2]], "at least 6 numbers"),
        ([[1, 1, 2, 2, 3, 3, 4]], "at least 6 numbers"),
        ([1, 1, 2, 2, 3, 3], "at least 6 numbers"),
        ([[1, 1, 2, 2, 3, "x"]], "finite numbers"),
        ([[1, 1, 2, 2, 3, float("nan")]], "finite numbers"),
        ([[1, 1, 2, 2, 3, float("inf")]], "finite numbers"),
        ([[1, 1, 2, 2, 3, 10**400]], "finite numbers"),
        ([[20, 1, 30, 1, 30, 5]], "outside the image"),
        ([[-9, 1, -2, 1, -2, 5]], "outside the image"),
        ([[1, 1, 1e9, 1, 5, 5]], "far outside"),
        ({"size": [8, 10]}, "counts must be"),
        ({"counts": [80]}, "size must be"),
        ({"size": [10, 8], "counts": [80]}, "size must be"),
        ({"size": [8, 10], "counts": [79]}, "sum to height . width = 80, got 79"),
        ({"size": [8, 10], "counts": [-1, 81]}, "whole numbers"),
        ({"size": [8, 10], "counts": [40.0, 40]}, "whole numbers"),
        ({"size": [8, 10], "counts": []}, "sum to"),
        ({"size": [8, 10], "counts": ""}, "damaged"),
        ({"size": [8, 10], "counts": "ooooooooo"}, "damaged"),
        ({"size": [8, 10], "counts": "é"}, "ASCII"),
        ({"size": [8, 10], "counts": "!"}, "damaged"),
    ],
)
def test_wrong_segmentations_are_refused_before_pycocotools_sees_them(value: Any, message: str):
    with pytest.raises(ValueError, match=message):
        parse_segmentation(value, 8, 10)
