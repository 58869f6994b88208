import json
from dataclasses import replace

import numpy as np
import pytest

from segcore.config.label_schema import FilterConfig
from segcore.data.label_maps import LabelMaps, write_label_maps
from segcore.errors import DataError
from segcore.pseudo.annotations import decode_annotations
from segcore.pseudo.audit import audit
from segcore.pseudo.build import PseudoLabelSpec, build_pseudo_labels, num_workers
from segcore.pseudo.histograms import CalibHistogram
from segcore.pseudo.predictions import Prediction, PredictionWriter, read_predictions
from segcore.records import ClassMap, ImageRecord

CLASSES = ClassMap(("background", "bottle"), ((0, 0, 0), (9, 9, 9)), (None, 4))
SHAPE = (2, 3)
LABELS = np.array([[0, 0, 1], [0, 1, 1]], np.uint8)
LEVELS = np.array([[99, 9, 99], [99, 99, 9]], np.uint8)
EXPECTED = [[0, 255, 1], [0, 1, 255]]


def record(image_id):
    return ImageRecord(image_id, "u", image_id[2:], "0", SHAPE[1], SHAPE[0], "0", image_id, "unlabeled")


@pytest.fixture
def spec(tmp_path):
    """Two prediction files with images u/0 … u/3 and a calib image; the pool also has u/9, which was quarantined."""
    paths = (tmp_path / "shard_0", tmp_path / "shard_1")
    for path, ids in zip(paths, (("u/2", "u/0", "val/c"), ("u/1", "u/3")), strict=True):
        with PredictionWriter(path) as writer:
            for image_id in ids:
                writer.write(Prediction(image_id, LABELS, LEVELS))
    return PseudoLabelSpec(
        predictions=paths,
        images=tuple(record(f"u/{name}") for name in "01239"),
        class_map=CLASSES,
        filter=FilterConfig(policy="fixed", tau=0.9),
        teacher="ab12",
        round_index=1,
        truth_share=(0.6, 0.4),
        previous=None,
        calib=CalibHistogram((), *[np.zeros(0, np.int64)] * 5),
    )


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_the_images_whose_views_agree_most_come_first_and_the_rest_in_later_rounds(spec, out):
    agreement = {"u/2": 0.4, "u/0": 0.9, "val/c": 1.0, "u/1": 0.7, "u/3": 0.7}
    for path in spec.predictions:
        items = list(read_predictions(path))
        with PredictionWriter(path) as writer:
            for item in items:
                writer.write(replace(item, agreement=agreement[item.image_id]))
    half = replace(spec, filter=spec.filter.model_copy(update={"reliable_share": 0.5, "reliable_step": 0.25}))
    value = build_pseudo_labels(half, out)
    assert LabelMaps(out / "label_maps.arrow").ids() == ("u/0", "u/1")
    assert (value["num_images"], value["missing"], value["unreliable"]) == (2, ["u/9"], ["u/2", "u/3"])
    assert build_pseudo_labels(replace(half, round_index=2), out)["unreliable"] == ["u/2"]
    assert build_pseudo_labels(replace(half, round_index=3), out)["unreliable"] == []


def test_only_pool_images_with_a_prediction_are_labelled(spec, out):
    value = build_pseudo_labels(spec, out)
    assert (value["num_images"], value["coverage"], value["missing"]) == (4, pytest.approx(4 / 6), ["u/9"])
    label_maps = LabelMaps(out / "label_maps.arrow")
    assert label_maps.ids() == ("u/2", "u/0", "u/1", "u/3")
    assert all(label_maps[image_id].tolist() == EXPECTED for image_id in label_maps.ids())


def test_the_coco_file_holds_the_same_label_maps(spec, out):
    value = build_pseudo_labels(spec, out)
    decoded = dict(decode_annotations(out / "annotations.json", CLASSES, "background"))
    assert {name: label_map.tolist() for name, label_map in decoded.items()} == dict.fromkeys("2013", EXPECTED)
    assert value["num_annotations"] == len(json.loads((out / "annotations.json").read_text())["annotations"]) == 8


def test_thresholds_and_quality_are_written_beside(spec, out):
    build_pseudo_labels(spec, out)
    thresholds, quality = (json.loads((out / f"{name}.json").read_text()) for name in ("thresholds", "quality"))
    assert [row["tau"] for row in thresholds["classes"]] == [0.9, 0.9]
    assert [row["coverage"] for row in thresholds["classes"]] == [pytest.approx(2 / 3)] * 2
    assert quality["churn"] is None


def test_class_balanced_thresholds_are_taken_from_the_pool_alone(spec, out):
    balanced = FilterConfig(policy="class_balanced", share=0.6, min_tau=0.0)
    build_pseudo_labels(replace(spec, filter=balanced), out)
    rows = json.loads((out / "thresholds.json").read_text())["classes"]
    assert [row["level"] for row in rows] == [99, 99]


def test_churn_compares_with_the_last_round(spec, out, tmp_path):
    write_label_maps(tmp_path / "last", [("u/0", np.zeros(SHAPE, np.uint8))])
    build_pseudo_labels(replace(spec, previous=tmp_path / "last"), out)
    assert json.loads((out / "quality.json").read_text())["churn"] == {
        "changed": 0.5,
        "added": 0.0,
        "dropped": pytest.approx(1 / 3),
    }


def test_the_same_input_gives_the_same_bytes(spec, out, tmp_path):
    (tmp_path / "again").mkdir()
    assert build_pseudo_labels(spec, out) == build_pseudo_labels(spec, tmp_path / "again")
    for path in out.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_the_confidence_of_kept_pixels_is_written_only_where_it_is_asked_for(spec, out, tmp_path):
    build_pseudo_labels(spec, out)
    assert not (out / "confidence.arrow").exists()
    (tmp_path / "asked").mkdir()
    build_pseudo_labels(replace(spec, confidence=True), tmp_path / "asked")
    confidence = LabelMaps(tmp_path / "asked" / "confidence.arrow")
    assert confidence.ids() == ("u/2", "u/0", "u/1", "u/3")
    assert all(confidence[image_id].tolist() == [[99, 0, 99], [99, 99, 0]] for image_id in confidence.ids())
    assert (tmp_path / "asked" / "label_maps.arrow").read_bytes() == (out / "label_maps.arrow").read_bytes()


def test_several_processes_write_the_same_bytes_as_one(spec, out, tmp_path, monkeypatch):
    write_label_maps(tmp_path / "last", [("u/0", np.zeros(SHAPE, np.uint8))])
    spec = replace(spec, previous=tmp_path / "last", confidence=True)
    value = build_pseudo_labels(spec, out)
    (tmp_path / "shared_out").mkdir()
    monkeypatch.setattr("segcore.pseudo.build.num_workers", lambda images, num_chunks: 2)
    assert build_pseudo_labels(spec, tmp_path / "shared_out") == value
    for path in out.iterdir():
        assert path.read_bytes() == (tmp_path / "shared_out" / path.name).read_bytes()


@pytest.mark.parametrize(("side", "num"), [(8, 1), (16384, 2)])
def test_workers_are_started_only_where_there_is_much_to_do(side, num, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    assert num_workers([replace(record("u/0"), width=side, height=side)], num_chunks=3) == num


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": (record("u/9"),)}, "got none for 1 images in 2 files"),
        ({"images": (replace(record("u/0"), width=4),)}, "u/0: the prediction must be 4 x 2 px"),
    ],
)
def test_predictions_that_do_not_fit_the_pool_are_refused(spec, out, change, message):
    with pytest.raises(DataError, match=message):
        build_pseudo_labels(replace(spec, **change), out)


def test_an_audit_scores_the_images_that_have_truth(spec, out, tmp_path):
    build_pseudo_labels(spec, out)
    write_label_maps(tmp_path / "truth", [("u/0", LABELS), ("u/1", np.zeros(SHAPE, np.uint8)), ("t/9", LABELS)])
    result = audit(LabelMaps(out / "label_maps.arrow"), LabelMaps(tmp_path / "truth"), CLASSES)
    assert (result["num_images"], result["num_without_truth"]) == (2, 2)
    assert (result["all"]["precision"], result["all"]["coverage"]) == (6 / 8, 8 / 12)
    assert [row["precision"] for row in result["classes"]] == [1.0, 0.5]


def test_an_audit_without_a_common_image_is_refused(spec, out, tmp_path):
    build_pseudo_labels(spec, out)
    write_label_maps(tmp_path / "truth", [("t/0", LABELS)])
    with pytest.raises(DataError, match="got none in common: \\['t/0'\\] against \\['u/2'\\]"):
        audit(LabelMaps(out / "label_maps.arrow"), LabelMaps(tmp_path / "truth"), CLASSES)
