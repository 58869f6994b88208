import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from segcore.errors import DataError
from segcore.pseudo.annotations import AnnotationWriter, Origin, annotation_texts, coco_file_names, decode_annotations
from segcore.pseudo.components import find_components, sum_over
from segcore.pseudo.confidence import LEVEL_EDGES, dequantise
from segcore.pseudo.filtering import PseudoLabel
from segcore.records import ClassMap, ImageRecord

GREY = (9, 9, 9)
IMPLICIT = ClassMap(("background", "bottle", "bag"), (GREY,) * 3, (None, 3, 7))
EXPLICIT = ClassMap(("background", "bottle", "ignore"), (GREY,) * 3, (5, 1, 2))
ORIGIN = Origin("ab12", 2, (0.5, 0.75, 0.9))


def record(image_id, shape):
    source, file_name = image_id.split("/", 1)
    return ImageRecord(image_id, source, file_name, "0", shape[1], shape[0], "0", image_id, "unlabeled")


def pseudo_label(label_map, levels):
    components = find_components(label_map)[1]
    return PseudoLabel(label_map, components, sum_over(components, levels, LEVEL_EDGES))


def write(path, label_maps, class_map=IMPLICIT, levels=None):
    images = [record(image_id, label_map.shape) for image_id, label_map in label_maps.items()]
    with AnnotationWriter(path, images, class_map, ORIGIN) as writer:
        for image_id, label_map in label_maps.items():
            label = pseudo_label(label_map, np.full(label_map.shape, 16, np.uint8) if levels is None else levels)
            writer.write(image_id, annotation_texts(label, class_map, ORIGIN))
    return path


def load(path):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


BY_HAND = np.array([[0, 1, 1, 255], [0, 0, 0, 255], [2, 0, 1, 1]], np.uint8)


def test_each_component_is_one_annotation_with_true_area_box_and_score(tmp_path):
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    coco = load(write(tmp_path / "a.json", {"u/a.jpg": BY_HAND}, levels=levels))
    found = {(a["category_id"], a["area"], tuple(a["bbox"]), a["iscrowd"]) for a in coco.anns.values()}
    assert found == {
        (3, 2, (1, 0, 2, 1), 0),
        (3, 2, (2, 2, 2, 1), 0),
        (7, 1, (0, 2, 1, 1), 0),
        (8, 2, (3, 0, 1, 2), 1),
    }
    bag = next(a for a in coco.anns.values() if a["category_id"] == 7)
    mean = pytest.approx(float(dequantise(np.array(8))), abs=1e-6)
    assert bag["score"] == mean
    assert bag["segloop"] == {"teacher": "ab12", "round": 2, "tau": 0.9, "mean_confidence": mean}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools' decode
def test_pycocotools_loads_and_draws_every_annotation(tmp_path):
    coco = load(write(tmp_path / "a.json", {"u/a.jpg": BY_HAND}))
    drawn = np.zeros_like(BY_HAND)
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        assert mask.sum() == annotation["area"]
        drawn[mask == 1] = {3: 1, 7: 2, 8: 255}[annotation["category_id"]]
    assert (drawn == BY_HAND).all()


def test_categories_keep_the_users_ids_and_ignore_is_marked(tmp_path):
    document = json.loads(write(tmp_path / "a.json", {"u/a.jpg": BY_HAND}).read_text())
    assert document["categories"] == [
        {"id": 3, "name": "bottle"},
        {"id": 7, "name": "bag"},
        {"id": 8, "name": "ignore", "segloop": {"ignore": True}},
    ]


def test_a_class_called_ignore_is_not_taken_for_the_ignored_region(tmp_path):
    path = write(tmp_path / "a.json", {"u/a.jpg": BY_HAND}, EXPLICIT)
    assert json.loads(path.read_text())["categories"][-1]["name"] == "segloop ignore"
    assert (dict(decode_annotations(path, EXPLICIT, "background"))["a.jpg"] == BY_HAND).all()


def test_an_image_without_annotations_stays_listed_and_is_all_background(tmp_path):
    path = write(tmp_path / "a.json", {"u/a.jpg": np.zeros((2, 3), np.uint8)})
    assert json.loads(path.read_text())["annotations"] == []
    assert dict(decode_annotations(path, IMPLICIT, "background"))["a.jpg"].tolist() == [[0, 0, 0], [0, 0, 0]]


@st.composite
def label_map_sets(draw):
    random = np.random.default_rng(draw(st.integers(0, 9999)))
    values = np.array(draw(st.lists(st.sampled_from([0, 1, 2, 255]), min_size=1)), np.uint8)
    shapes = draw(st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), max_size=3))
    return {f"u/{index}.jpg": random.choice(values, shape) for index, shape in enumerate(shapes)}


@settings(deadline=None, max_examples=60)
@given(label_map_sets(), st.sampled_from([IMPLICIT, EXPLICIT]))
def test_decoding_what_was_encoded_gives_it_back(tmp_path_factory, label_maps, class_map):
    path = write(tmp_path_factory.mktemp("c") / "a.json", label_maps, class_map)
    decoded = dict(decode_annotations(path, class_map, "background"))
    assert {f"u/{name}": label_map.tolist() for name, label_map in decoded.items()} == {
        name: label_map.tolist() for name, label_map in label_maps.items()
    }


@settings(deadline=None, max_examples=30)
@given(label_map_sets())
def test_with_every_class_annotated_unannotated_may_as_well_mean_ignore(tmp_path_factory, label_maps):
    path = write(tmp_path_factory.mktemp("c") / "a.json", label_maps, EXPLICIT)
    for (_, first), (_, second) in zip(
        decode_annotations(path, EXPLICIT, "background"), decode_annotations(path, EXPLICIT, "ignore"), strict=True
    ):
        assert (first == second).all()


def test_file_names_are_the_users_unless_two_sources_share_one():
    shape = (1, 1)
    assert coco_file_names([record("u/a.jpg", shape), record("v/b.jpg", shape)]) == ("a.jpg", "b.jpg")
    assert coco_file_names([record("u/a.jpg", shape), record("v/a.jpg", shape)]) == ("u/a.jpg", "v/a.jpg")


def test_equal_pseudo_labels_are_equal_files(tmp_path):
    first, second = (write(tmp_path / name, {"u/a.jpg": BY_HAND}) for name in ("1", "2"))
    assert first.read_bytes() == second.read_bytes()


def test_a_listed_image_that_was_not_written_is_an_error_and_leaves_no_file(tmp_path):
    path = tmp_path / "a.json"
    with (
        pytest.raises(DataError, match=r"every listed image must be written, 1 are not, such as 'u/a.jpg'"),
        AnnotationWriter(path, [record("u/a.jpg", (2, 2))], IMPLICIT, ORIGIN),
    ):
        pass
    assert not path.exists()


def test_an_image_that_is_not_listed_cannot_be_written(tmp_path):
    path = tmp_path / "a.json"
    with (
        pytest.raises(DataError, match=r"'u/b.jpg' is not in the list of images"),
        AnnotationWriter(path, [record("u/a.jpg", (2, 2))], IMPLICIT, ORIGIN) as writer,
    ):
        writer.write("u/b.jpg", [])
    assert not path.exists()
