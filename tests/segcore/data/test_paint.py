from __future__ import annotations

import numpy as np
import pytest

from segcore.data.coco import CocoAnnotation, CocoImage
from segcore.data.images import ImageHeader
from segcore.data.paint import orient, paint, paint_oriented, size_agrees
from segcore.data.segmentation import Polygons, parse_segmentation
from segcore.errors import DataError
from segcore.records import ClassMap

CLASSES = ClassMap(("background", "can", "bottle"), ((0, 0, 0),) * 3, (None, 3, 7))


def box(annotation_id: int, category_id: int, x: int, y: int, width: int, height: int) -> CocoAnnotation:
    polygon = (x, y, x + width, y, x + width, y + height, x, y + height)
    return CocoAnnotation(annotation_id, 1, category_id, Polygons((tuple(map(float, polygon)),)))


def text(label_map: np.ndarray) -> list[str]:
    return ["".join("." if value == 255 else str(value) for value in row) for row in label_map]


def test_small_objects_stay_on_top_whatever_their_order():
    large, small = box(1, 3, 0, 0, 6, 4), box(2, 7, 1, 1, 3, 2)
    expected = ["11111100", "12221100", "12221100", "11111100"]
    assert text(paint([large, small], 4, 8, CLASSES, 0)) == expected
    assert text(paint([small, large], 4, 8, CLASSES, 0)) == expected


def test_of_equal_areas_the_higher_id_is_on_top():
    first, second = box(5, 3, 0, 0, 3, 1), box(9, 7, 1, 0, 3, 1)
    assert text(paint([second, first], 1, 5, CLASSES, 0)) == ["12220"]


def test_through_the_hole_of_an_rle_lies_what_is_below():
    ring = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]], bool)
    counts = [0, 4, 1, 2, 1, 4]
    assert ring.T.ravel().tolist() == np.repeat([0, 1, 0, 1, 0, 1], counts).tolist()
    hole = CocoAnnotation(2, 1, 7, parse_segmentation({"size": [3, 4], "counts": counts}, 3, 4))
    assert text(paint([hole], 3, 4, CLASSES, 255)) == ["2222", "2..2", "2222"]
    below = box(1, 3, 0, 0, 4, 3)
    assert text(paint([hole, below], 3, 4, CLASSES, 0)) == ["2222", "2112", "2222"]


def test_areas_count_pixels_of_the_mask_not_of_the_bounding_box():
    frame = CocoAnnotation(1, 1, 3, parse_segmentation({"size": [3, 4], "counts": [0, 4, 1, 2, 1, 4]}, 3, 4))
    full = box(2, 7, 0, 0, 3, 2)
    assert text(paint([frame, full], 3, 4, CLASSES, 0)) == ["2221", "2221", "1111"]


def test_a_category_that_is_no_class_paints_ignore_and_crowds_count_as_their_class():
    ignore = box(1, 99, 0, 0, 2, 1)
    crowd = CocoAnnotation(2, 1, 3, box(2, 3, 3, 0, 1, 1).segmentation, is_crowd=True)
    assert text(paint([ignore, crowd], 1, 5, CLASSES, 0)) == ["..010"]


@pytest.mark.parametrize(("fill", "expected"), [(0, ["00", "00"]), (255, ["..", ".."])])
def test_pixels_without_annotation_get_the_fill(fill: int, expected: list[str]):
    assert text(paint([], 2, 2, CLASSES, fill)) == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_annotations_in_stored_coordinates_are_turned_with_the_image(orientation: int):
    header = ImageHeader(8, 4, orientation)
    annotations = [box(1, 3, 1, 0, 3, 2), box(2, 7, 6, 3, 1, 1)]
    stored = paint(annotations, 4, 8, CLASSES, 0)
    label_map = paint_oriented(CocoImage(1, "a.jpg", 8, 4), annotations, header, CLASSES, 0)
    assert label_map.shape == (header.oriented_height, header.oriented_width)
    expected = stored if orientation < 5 else orient(stored, orientation)
    np.testing.assert_array_equal(label_map, expected)


def test_annotations_in_oriented_coordinates_are_left_alone():
    annotations = [box(1, 3, 0, 5, 2, 2)]
    label_map = paint_oriented(CocoImage(1, "a.jpg", 4, 8), annotations, ImageHeader(8, 4, 6), CLASSES, 0)
    np.testing.assert_array_equal(label_map, paint(annotations, 8, 4, CLASSES, 0))


def test_another_size_than_the_image_has_is_an_error():
    with pytest.raises(DataError, match=r"a\.jpg: the COCO file says 5x4, the image is 4x8"):
        paint_oriented(CocoImage(1, "a.jpg", 5, 4), [], ImageHeader(8, 4, 6), CLASSES, 0)
    assert not size_agrees((5, 4), ImageHeader(8, 4, 6))
    assert size_agrees(None, ImageHeader(8, 4, 6))
