import json
from functools import partial

import pytest
from click.testing import CliRunner

from benchmarks import label, label_weights
from benchmarks.__main__ import main
from benchmarks.label_page import page, pays_after
from benchmarks.label_ways import Setting
from benchmarks.label_weights import MODELS_BY_NAME, Model, Trained, trained
from benchmarks.page import write_page
from segcore.config.label_schema import LabelConfig

TINY = Model(
    "a tiny model",
    ("model.head_channels=16", "train.iterations=2", "train.batch_size=2", "train.size=64"),
    "from ImageNet weights, 2 iterations",
    4.0,
)


@pytest.fixture(scope="module")
def measured(write_tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("label")
    write_tiny(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS_BY_NAME, "tiny", TINY)
        patch.setattr(label_weights, "KEPT", folder / "kept")
        model = trained("tiny", folder / "data", "cpu")
        views = LabelConfig(sizes=(64, 96))
        setting = Setting(str(model.checkpoint), str(model.config), "cpu", 1, 10, views)
        found = label.measure(model, setting, label.Effort(group=2, budget_s=0, case=3))
        result = {
            "environment": {"torch": "2"},
            "device": "CPU",
            "threads": 1,
            "expected_images": 10,
            "models": {"tiny": found},
        }
        result |= {"load_before": 0.5, "load_after": 0.5, "before": None, "notes": "Tried: nothing."}
        text = page(result | {"before": result | {"environment": {"commit": "abcdef0123"}}}, "2026-01-01")
    return found, text


def test_both_ways_label_the_same_photos_alike(measured):
    found, _ = measured
    assert found["labels"]["num_images"] == 6
    assert found["labels"]["agreement"] > 0.995
    assert found["labels"]["miou"]["segloop"] == pytest.approx(found["labels"]["miou"]["mmseg"], abs=0.01)


def test_every_figure_of_the_measurement_is_there(measured):
    found, _ = measured
    assert [set(group) for group in found["groups"]] == [{"segloop", "mmseg"}] * 3
    assert all(time > 0 for group in found["groups"] for way in group.values() for time in way.values())
    assert all(way["peak"]["resident_mb"] > 50 for way in found["ways"].values())
    assert found["case"]["num_images"] == 3
    assert found["case"]["wall_s"] > 0
    assert 1e6 < found["flops_per_image"] < 1e11 < 1e4 * found["matmul_flops"]
    operations = found["profile"]["operations"]
    assert any("conv" in row["operation"] for row in operations)
    assert 0.5 < sum(row["share"] for row in operations) <= 1.0


def test_the_page_names_goals_what_was_tried_and_an_earlier_result(measured):
    _, text = measured
    assert "a tiny model: " in text
    assert "(goal: at least 4)" in text
    assert "No GPU was at hand" in text
    assert "before, at abcdef0" in text
    assert "Tried: nothing." in text


def test_the_command_writes_page_and_json_with_notes_and_an_earlier_result(measured, tmp_path, monkeypatch):
    found, _ = measured
    model = Trained(tmp_path / "model.pth", tmp_path / "config.py", 3, (), tmp_path / "truth.arrow")
    monkeypatch.setattr(label, "trained", lambda name, data, device: model)
    monkeypatch.setattr(label, "measure", lambda model, setting, effort: found)
    monkeypatch.setattr(label, "write_page", partial(write_page, folder=tmp_path))
    notes = tmp_path / "notes.md"
    notes.write_text("## What was tried\n\nEverything.\n")
    command = ["label", "--model", "lite0", "--notes", str(notes)]
    assert CliRunner().invoke(main, command, catch_exceptions=False).exit_code == 0
    (first,) = tmp_path.glob("*-label.json")
    command += ["--before", str(first), "--name", "label-again"]
    assert CliRunner().invoke(main, command, catch_exceptions=False).exit_code == 0
    (second,) = tmp_path.glob("*-label-again.md")
    assert "Everything." in second.read_text()
    assert f"before, at {json.loads(first.read_text())['environment']['commit'][:7]}" in second.read_text()


def test_where_the_photos_are_not_the_benchmark_says_so(tmp_path):
    done = CliRunner().invoke(main, ["label", "--data", str(tmp_path), "--train-only"])
    assert done.exit_code == 1
    assert "must be the folder of garbage6" in done.output


@pytest.mark.parametrize(("start_s", "images"), [(10, "1"), (13, "4"), (10.5, "1"), (5, "1")])
def test_a_longer_preparation_pays_after_as_many_images_as_it_costs(start_s, images):
    group = {"segloop": {"wall_s": 1.0}, "mmseg": {"wall_s": 2.0}}
    ways = {"segloop": {"start_s": start_s, "warm_up_s": 2.0}, "mmseg": {"start_s": 10, "warm_up_s": 4.0}}
    assert pays_after({"groups": [group], "group_images": 2, "ways": ways}) == images
