from pathlib import Path

import pytest

from segcore.store.layout import (
    RunLayout,
    calibration_place,
    control_place,
    evaluation_place,
    index_place,
    pseudo_labels_place,
    shard_place,
    student_place,
)
from segcore.store.steps import Step, changed_fields, difference

STEP = Step("train", 1, "round_01/student", {"train": {"lr": 0.1}, "sizes": (1, 2)})


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Step("train", 1, "round_02/student", {"sizes": [1, 2], "train": {"lr": 0.1}}), True),
        (Step("train", 1, "round_01/student", {"train": {"lr": 0.1}, "sizes": (1, 2)}, shared=True), True),
        (Step("train", 2, STEP.place, STEP.inputs), False),
        (Step("label", 1, STEP.place, STEP.inputs), False),
        (Step("train", 1, STEP.place, {"train": {"lr": 0.2}, "sizes": (1, 2)}), False),
    ],
)
def test_the_key_holds_kind_version_and_inputs_but_not_the_place(other, same):
    assert (other.key == STEP.key) is same


def test_the_folder_is_the_place_with_eight_digits_of_the_key():
    assert STEP.folder == f"round_01/student.{STEP.key[:8]}"


@pytest.mark.parametrize(
    ("place", "shared", "pattern"),
    [
        ("round_01/labels/shard_0003", True, "*/labels/shard_0003.{key}"),
        ("round_01/labels/shard_0003", False, None),
        ("index", True, None),
    ],
)
def test_a_shared_step_is_looked_for_in_every_round(place, shared, pattern):
    step = Step("label", 1, place, {}, shared)
    assert step.shared_pattern == (pattern and pattern.format(key=step.key[:8]))


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ({"a": 1}, {"a": 1}, ()),
        ({"a": (1, 2)}, {"a": [1, 2]}, ()),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ("a.c",)),
        ({"a": 1}, {"b": 1}, ("a", "b")),
        ({"a": 1}, {"a": True}, ("a",)),
        ({"a": 1}, {"a": 1.0}, ("a",)),
        ({"a": [{"x": 1}]}, {"a": [{"x": 2}]}, ("a",)),
        ({"a": None}, {}, ("a",)),
        ({"a": {}}, {"a": None}, ("a",)),
        (1, 2, ("(everything)",)),
    ],
)
def test_changed_fields_are_named_by_their_dotted_path(old, new, names):
    assert changed_fields(old, new) == names


def test_a_plan_can_name_the_fields_that_make_a_step_be_redone():
    assert difference(STEP, {"train": {"lr": 0.2}, "sizes": [1, 2]}) == ("train.lr",)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (index_place(), "index"),
        (student_place(0), "round_00/student"),
        (control_place(12), "round_12/control"),
        (evaluation_place(1), "round_01/evaluation"),
        (evaluation_place(1, of="report"), "round_01/report"),
        (shard_place(1, 3), "round_01/labels/shard_0003"),
        (shard_place(None, 3), "final/labels/shard_0003"),
        (calibration_place(2), "round_02/calibration"),
        (pseudo_labels_place(None), "final/pseudo_labels"),
    ],
)
def test_places_are_those_of_the_documented_layout(place, expected):
    assert place == expected


def test_all_of_a_run_lies_in_its_folder_under_stable_names():
    layout = RunLayout(Path("/runs/demo"))
    assert layout.round_file(3) == Path("/runs/demo/round_03/round.json")
    assert layout.work_dir(STEP) == Path(f"/runs/demo/{STEP.folder}.work")
    assert layout.resume_dir(STEP) == Path(f"/runs/demo/{STEP.folder}.resume")
    assert layout.log_file(STEP) == Path(f"/runs/demo/logs/{STEP.folder}.log")
    assert layout.relative(layout.step_dir(STEP)) == STEP.folder
    assert layout.relative(Path("/elsewhere/x")) == "/elsewhere/x"
