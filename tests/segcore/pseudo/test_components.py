import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from segcore.pseudo.components import find_components, run_lengths


def test_components_know_class_area_and_box():
    label_map = np.array([[1, 0, 2], [0, 1, 2], [9, 9, 9]], np.uint8)
    components = find_components(label_map, [1, 2])
    assert components.ids.tolist() == [[1, 0, 2], [0, 1, 2], [0, 0, 0]]
    assert components.class_id.tolist() == [1, 2]
    assert components.area_px.tolist() == [2, 2]
    assert components.bbox.tolist() == [[0, 0, 2, 2], [2, 0, 1, 2]]


def test_run_lengths_go_down_the_columns():
    ids = np.array([[1, 1], [0, 2]], np.int32)
    assert [runs.tolist() for runs in run_lengths(ids, 2)] == [[0, 1, 1, 1, 1], [3, 1]]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 9999), st.integers(1, 9), st.integers(1, 9))
def test_run_lengths_area_and_box_are_those_of_pycocotools(seed, height, width):
    label_map = np.random.default_rng(seed).integers(0, 3, (height, width), np.uint8)
    components = find_components(label_map, [0, 1, 2])
    assert (components.ids > 0).all()
    for index, counts in enumerate(run_lengths(components.ids, len(components.area_px))):
        mask = components.ids == index + 1
        rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
        assert rle == coco_mask.encode(np.asfortranarray(mask, np.uint8))
        assert coco_mask.area(rle) == components.area_px[index]
        assert coco_mask.toBbox(rle).tolist() == components.bbox[index].tolist()
        assert (label_map[mask] == components.class_id[index]).all()
