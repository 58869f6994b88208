import json
import shutil

import pytest

from segcore.config.load import load_config
from segcore.config.student_schema import ConsistencyConfig, StudentConfig
from segcore.steps.plan import plan_run
from segcore.steps.plan_estimate import Sample, covered_s, estimate
from segcore.steps.plan_steps import PlannedStep, config_names
from segcore.steps.plan_text import plan_text, step_line
from segcore.steps.plan_work import checkpoint_share, train_amount
from segcore.steps.run import run_folder
from segcore.store.events import read_events

ALL_OF_ONE_ROUND = [
    "index", "round_00/student", "round_00/evaluation", "round_00/gate", "round_01/labels", "round_01/calibration",
    "round_01/pseudo_labels", "round_01/card", "round_01/student", "round_01/evaluation", "round_01/gate",
    "final/labels", "final/calibration", "final/pseudo_labels", "final/card", "outputs",
]  # fmt: skip


def planned(root, *overrides, run_id=None):
    config = load_config(root / "tiny.yaml", overrides)
    plan = plan_run(config, run_folder(config, run_id))
    return plan, plan_text(plan, estimate(plan, config))


def verdicts(plan):
    return {step.place: step.verdict for step in plan.steps}


def listing(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "hash_memo.txt"}


def test_a_new_run_is_planned_whole_and_nothing_is_written(tmp_path, write_tiny):
    write_tiny(tmp_path, "tiny")
    plan, text = planned(tmp_path)
    assert [step.place for step in plan.steps] == ALL_OF_ONE_ROUND
    assert plan.steps[0].verdict == "new"
    assert {step.verdict for step in plan.steps[1:]} == {"after"}
    assert not (tmp_path / "artifacts").exists()
    assert "no estimate yet for train, evaluate, label" in text
    assert "--update" not in text


def test_a_finished_run_is_reused_whole_and_looking_changes_nothing(finished):
    folder = finished / "artifacts" / "tiny"
    before = listing(folder)
    plan, text = planned(finished)
    assert [step.place for step in plan.steps] == ALL_OF_ONE_ROUND
    assert set(verdicts(plan).values()) == {"reuse", "again"}
    assert plan.ending.startswith("the loop stops: all 1 rounds")
    assert "time: seconds" in text
    assert listing(folder) == before


@pytest.mark.parametrize(
    ("override", "place", "because"),
    [
        ("train.lr=0.5", "round_00/student", ("train.lr",)),
        ("train.iterations=9", "round_00/student", ("train.iterations",)),
        ("train.round_iterations=9", "round_01/student", ("train.round_iterations (else train.iterations)",)),
        ("loop.seed=3", "round_00/student", ("loop.seed",)),
        ("label.flip=true", "round_00/evaluation", ("label.flip",)),
        ("filter.share=0.5", "round_01/pseudo_labels", ("filter.share",)),
        ("roles.seed=5", "index", ("roles.seed",)),
        ("model.head_channels=8", "round_00/student", ("model.head_channels",)),
    ],
)
def test_a_changed_field_is_named_at_the_first_step_it_reaches_and_update_is_asked_for(
    finished, override, place, because
):
    plan, text = planned(finished, override)
    reached = [step.place for step in plan.steps].index(place)
    assert {step.verdict for step in plan.steps[:reached]} <= {"reuse", "again"}
    assert plan.steps[reached].verdict == "redo"
    assert plan.steps[reached].because == because
    assert {step.verdict for step in plan.steps[reached + 1 :]} == {"after"}
    assert [change.partition(":")[0] for change in plan.changes] == [override.partition("=")[0]]
    assert "--update is needed" in text


@pytest.mark.parametrize("override", ["runtime.log_every=7", "train.workers=1", "train.checkpoint_every=4"])
def test_fields_without_effect_redo_nothing_and_need_no_update(finished, override):
    plan, text = planned(finished, override)
    assert set(verdicts(plan).values()) == {"reuse", "again"}
    assert "--update" not in text


def test_more_rounds_are_new_and_follow_on_what_is_there(finished):
    plan, _ = planned(finished, "loop.rounds=2")
    found = verdicts(plan)
    assert found["round_01/evaluation"] == "reuse"
    assert found["round_02/labels"] in ("new", "reuse")
    assert found["round_02/student"] in ("new", "after")


@pytest.mark.parametrize("override", ["filter.share=0.5", "train.round_iterations=9"])
def test_what_a_plan_says_of_the_steps_before_the_first_unknown_is_what_the_run_does(tmp_path, tiny_loop, override):
    folder = tiny_loop()
    plan, _ = planned(tmp_path, override)
    num_before = len(list(read_events(folder)))
    tiny_loop((override,), update=True)
    events = list(read_events(folder))[num_before:]
    built = {event["place"].split("/shard")[0] for event in events if event["event"] == "step_done"}
    kept = {event["place"].split("/shard")[0] for event in events if event["event"] == "step_reused"}
    assert {step.place for step in plan.steps if step.verdict == "redo"} <= built
    assert {step.place for step in plan.steps if step.verdict == "reuse"} <= kept - built


def test_lost_and_damaged_shards_are_counted_and_stay_where_they_are(tmp_path, tiny_loop):
    folder = tiny_loop()
    shards = sorted((folder / "round_01" / "labels").iterdir())
    shutil.rmtree(shards[0])
    with (shards[1] / "predictions.parquet").open("ab") as file:
        file.write(b"x")
    plan, text = planned(tmp_path)
    line = next(step for step in plan.steps if step.place == "round_01/labels")
    assert line.verdict == "redo"
    assert line.because == ("damaged files",)
    assert line.note.startswith(f"2 of {len(shards)} shards")
    assert shards[1].exists()
    assert "round_01/calibration          after round_01/labels" in text


def test_changed_data_are_told_as_such(tmp_path, tiny_loop):
    tiny_loop()
    (tmp_path / "data" / "unlabeled" / "000.png").write_bytes((tmp_path / "data" / "test" / "000.png").read_bytes())
    plan, text = planned(tmp_path)
    assert plan.stale_data
    assert plan.changes == ()
    assert any("unlabeled/000.png" in name for name in plan.steps[0].because)
    assert "--update is needed" in text


def test_fields_that_a_newer_segloop_has_are_no_change_of_an_older_run(tmp_path, tiny_loop):
    folder = tiny_loop()
    document = json.loads((folder / "run.json").read_text())
    del document["config"]["loop"]["final_refit"], document["config"]["roles"]["fold"], document["config"]["pool"]
    (folder / "run.json").write_text(json.dumps(document))
    plan, text = planned(tmp_path)
    assert plan.changes == ()
    assert "--update" not in text
    tiny_loop()
    assert json.loads((folder / "run.json").read_text())["config"]["pool"]["use_test"] is True
    plan, _ = planned(tmp_path, "pool.use_test=false")
    assert plan.changes == ("pool.use_test: true -> false",)


def test_a_begun_training_is_told_and_its_rest_counted(tmp_path, tiny_loop):
    folder = tiny_loop()
    (student,) = (folder / "round_01").glob("student.*")
    resume = student.with_name(student.name + ".resume")
    student.rename(resume)
    (resume / "progress.jsonl").write_text('{"iteration": 6, "num_iterations": 8, "loss": 1.0, "lr": 1.0}\n')
    plan, _ = planned(tmp_path)
    line = next(step for step in plan.steps if step.place == "round_01/student")
    assert (line.verdict, line.note) == ("new", "begun: about 6 of 8 iterations are done")
    assert line.work is not None
    assert line.work.amount == pytest.approx(8 * 2 * 64**2 / 1e6 / 4)


def test_time_is_measured_in_the_run_itself_or_in_one_beside_it_with_the_same_model(finished):
    _, own = planned(finished, "train.lr=0.5")
    _, beside = planned(finished, run_id="another")
    _, other_model = planned(finished, "model.head_channels=8", run_id="third")
    assert "as measured in tiny" in own
    assert "as measured in tiny" in beside
    assert "no estimate yet for train, evaluate, label" in other_model


def test_pool_images_of_consistency_training_count_as_two_and_a_third():
    assert train_amount(10, 4, 100, None) == pytest.approx(0.4)
    assert train_amount(10, 4, 100, ConsistencyConfig(unlabelled_batch=3)) == pytest.approx(1.1)
    assert checkpoint_share(StudentConfig()) == 3
    assert checkpoint_share(StudentConfig(ema=0.9, consistency=ConsistencyConfig())) == 5


def test_steps_side_by_side_are_not_counted_twice():
    assert covered_s([Sample(5, 12, 1), Sample(0, 10, 1), Sample(20, 21, 1)]) == 13


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("views.flip", "views.sizes"), ("label.flip", "label.sizes")),
        (("filter.share", "share"), ("filter.share",)),
        (("train.lr",), ("train.lr",)),
        (("unlabelled",), ("pool",)),
    ],
)
def test_inputs_are_named_as_the_config_does(names, shown):
    assert config_names(names, "round_00/evaluation") == shown


def test_what_later_rounds_have_a_field_of_their_own_for_is_named_by_that():
    named = config_names(("train.lr", "iterations", "start"), "round_01/student")
    assert [name.partition(" ")[0] for name in named] == ["train.round_lr", "train.round_iterations", "student.start"]


def test_many_fields_are_cut_short():
    line = step_line(PlannedStep("index", "redo", tuple("abcdef")))
    assert line.endswith("redo because a, b, c, d and 2 more")
