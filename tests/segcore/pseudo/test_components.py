import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from segcore.pseudo.components import covered, find_components, run_lengths, sum_over

TABLE = np.arange(256) / 7


@st.composite
def label_maps(draw):
    random = np.random.default_rng(draw(st.integers(0, 9999)))
    values = np.array(draw(st.lists(st.sampled_from([0, 1, 2, 254, 255]), min_size=1)), np.uint8)
    return random.choice(values, (draw(st.integers(1, 9)), draw(st.integers(1, 9))))


def slow_components(label_map):
    """Class id and mask of each component, found class by class, in no order."""
    for class_id in np.unique(label_map).tolist():
        mask = (label_map == class_id).astype(np.uint8)
        num, numbers = (2, mask) if class_id == 255 else cv2.connectedComponents(mask, connectivity=8)
        for number in range(1, num):
            yield class_id, numbers == number


def first_pixel(mask):
    return int(np.flatnonzero(mask.ravel(order="F"))[0])


def test_components_are_in_order_of_class_and_first_pixel_and_ignore_is_one():
    label_map = np.array([[2, 255, 1], [1, 255, 255], [255, 9, 1]], np.uint8)
    same, components = find_components(label_map)
    assert (same == label_map).all()
    assert components.class_id.tolist() == [1, 1, 1, 2, 9, 255]
    assert components.area_px.tolist() == [1, 1, 1, 1, 1, 4]
    corners = [(0, 1), (2, 0), (2, 2), (0, 0), (1, 2)]
    assert components.bbox.tolist() == [*([x, y, 1, 1] for x, y in corners), [0, 0, 3, 3]]


def test_run_lengths_go_down_the_columns_and_on_in_the_next():
    _, components = find_components(np.array([[1, 2], [2, 2]], np.uint8))
    assert [runs.tolist() for runs in run_lengths(components)] == [[0, 1, 3], [1, 3]]


@settings(deadline=None, max_examples=200)
@given(label_maps())
def test_one_pass_over_all_classes_finds_what_a_pass_for_each_class_finds(label_map):
    height, width = label_map.shape
    levels = np.arange(label_map.size, dtype=np.uint8).reshape(label_map.shape)
    _, components = find_components(label_map)
    expected = sorted(slow_components(label_map), key=lambda item: (item[0], first_pixel(item[1])))
    sums = sum_over(components, levels, TABLE)
    assert len(components.class_id) == len(expected)
    for index, (counts, (class_id, mask)) in enumerate(zip(run_lengths(components), expected, strict=True)):
        rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
        assert rle == coco_mask.encode(np.asfortranarray(mask, np.uint8))
        assert components.class_id[index] == class_id
        assert components.area_px[index] == coco_mask.area(rle)
        assert components.bbox[index].tolist() == coco_mask.toBbox(rle).tolist()
        assert sums[index] == pytest.approx(TABLE[levels[mask]].sum())


@settings(deadline=None, max_examples=100)
@given(label_maps(), st.integers(0, 99))
def test_the_pixels_of_some_components_are_those_of_their_masks(label_map, seed):
    components = find_components(label_map)[1]
    chosen = np.random.default_rng(seed).random(len(components.class_id)) < 0.5
    masks = sorted(slow_components(label_map), key=lambda item: (item[0], first_pixel(item[1])))
    expected = np.zeros(label_map.shape, bool)
    for (_, mask), is_chosen in zip(masks, chosen, strict=True):
        expected |= mask & is_chosen
    assert covered(components, chosen).tolist() == expected.tolist()


@settings(deadline=None, max_examples=100)
@given(label_maps(), st.integers(0, 6))
def test_what_is_too_small_is_ignored_and_the_components_are_those_of_what_is_left(label_map, min_px):
    expected = label_map.copy()
    for class_id, mask in slow_components(label_map):
        expected[mask & (class_id != 255) & (mask.sum() < min_px)] = 255
    left, components = find_components(label_map, min_px)
    assert left.tolist() == expected.tolist()
    again = find_components(expected)[1]
    for name in ("class_id", "area_px", "bbox"):
        assert getattr(components, name).tolist() == getattr(again, name).tolist()
    assert [counts.tolist() for counts in run_lengths(components)] == [counts.tolist() for counts in run_lengths(again)]
