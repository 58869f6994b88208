import dataclasses
import json

import click
import pytest

from benchmarks.filter import same_annotations, write_by_segloop, write_obviously
from benchmarks.filter_page import markdown
from benchmarks.filter_pictures import draw_prediction
from benchmarks.refilter import NUM_CLASSES, Pictures, measure_refilter, record

SIZE_PX = 96


@pytest.fixture
def written(tmp_path):
    predictions = tuple(draw_prediction(f"u/{seed}.jpg", seed, SIZE_PX, NUM_CLASSES) for seed in range(4))
    records = (record(item.image_id) for item in predictions)
    images = tuple(dataclasses.replace(image, width=SIZE_PX, height=SIZE_PX) for image in records)
    for way, name in ((write_by_segloop, "segloop"), (write_obviously, "obvious")):
        way(Pictures(predictions, images), tmp_path / name)
    return [json.loads((tmp_path / name).read_text()) for name in ("segloop", "obvious")]


def test_both_ways_that_are_timed_write_the_same_annotations(written):
    assert same_annotations(*written) == len(written[0]["annotations"]) > 4


@pytest.mark.parametrize(("field", "value"), [("area", 1), ("iscrowd", 2), ("score", 0.5)])
def test_ways_that_differ_are_not_compared_in_speed(written, field, value):
    written[1]["annotations"][0][field] = value
    with pytest.raises(click.ClickException, match="nothing was measured"):
        same_annotations(*written)


def test_new_thresholds_of_either_policy_are_measured_and_told_of(tmp_path):
    drawn = tuple(draw_prediction(f"u/{seed}.jpg", seed, 512, NUM_CLASSES) for seed in range(2))
    records = tuple(record(item.image_id) for item in drawn)
    measured = measure_refilter(Pictures(drawn * 32, records), 3, tmp_path)
    assert set(measured["policies"]) == {"class_balanced", "fixed"}
    stored = measured["stored_mb"]
    assert stored["histogram"] < 0.02 * (stored["label_map"] + stored["confidence"])
    pair = {"segloop": {"cpu_ms": 4.0}, "obvious": {"cpu_ms": 24.0}}
    setting = {"size_px": 512, "classes": 11, "images": 64, "boundary_px": 2, "min_component_px": 64}
    result = {"chain": {"pairs": [pair], "annotations": 7}, "setting": setting, "environment": {"cores": "2"}}
    text = markdown(result | {"refilter": measured}, "2026-01-02")
    assert "250 images a second and core: reached" in text
    assert "`fixed`:" in text
