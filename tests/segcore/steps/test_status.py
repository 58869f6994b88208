import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from segcore.errors import RunError
from segcore.steps.run_folders import named_run, run_folders
from segcore.steps.status import Shards, run_status
from segcore.steps.status_text import duration, run_text, runs_table
from segcore.store.lock import lock_run

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONFIG = {"label": {"num_shards": None, "images_per_shard": 10}, "pool": {"use_test": False}}
OPENED = {"event": "opened", "update": False}


def started(place, key="abcdef01"):
    return {"event": "step_started", "place": place, "key": key}


def done(place):
    return {"event": "step_done", "place": place, "folder": f"{place}.abcdef01", "seconds": 1.0}


def reused(place):
    return {"event": "step_reused", "place": place}


def write_run(folder, *events, config=CONFIG):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"format": 1, "run_id": folder.name, "config": config}))
    time = NOW - timedelta(minutes=5)
    lines = [json.dumps({"time": time.isoformat(), **event}) for event in events]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n" if lines else "")
    return folder


def write_round(folder, round_index, miou, outcome):
    place = folder / f"round_{round_index:02d}"
    place.mkdir(exist_ok=True)
    score = {"miou": {"point": miou, "low": miou - 0.01, "high": miou + 0.01}, "num_images": 42}
    (place / "round.json").write_text(json.dumps({"score": score, "decision": {"outcome": outcome}}))


def write_progress(folder, place, *lines):
    resume = folder / f"{place}.abcdef01.resume"
    resume.mkdir(parents=True)
    (resume / "progress.jsonl").write_text("".join(lines))
    os.utime(resume / "progress.jsonl", (NOW.timestamp(), NOW.timestamp()))


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((), "not started"),
        ((OPENED, started("index")), "interrupted"),
        ((OPENED, {"event": "stopped", "error": "StepError: no"}), "stopped"),
        ((OPENED, done("index"), {"event": "finished"}), "finished"),
        ((OPENED, {"event": "finished"}, OPENED), "interrupted"),
        ((OPENED, {"event": "waiting", "round_index": 1}), "waiting"),
        ((OPENED, {"event": "waiting", "round_index": 1}, {"event": "approved", "round_index": 1}), "stopped"),
    ],
)
def test_the_last_event_tells_how_a_run_that_nobody_holds_ended(tmp_path, events, state):
    assert run_status(write_run(tmp_path / "demo", *events)).state == state


def test_a_run_that_waits_for_a_person_says_how_to_answer(tmp_path):
    folder = write_run(tmp_path / "demo", OPENED, {"event": "waiting", "round_index": 1})
    text = run_text(run_status(folder), NOW)
    assert "segloop approve demo" in text
    assert "start it again" not in text


def test_a_held_lock_makes_a_run_working_and_names_the_holder(tmp_path):
    folder = write_run(tmp_path / "demo", OPENED)
    with lock_run(folder, ["segloop", "run"]):
        status = run_status(folder)
    assert status.state == "working"
    assert status.holder is not None
    assert f"held by pid {os.getpid()}" in run_text(status, NOW)


def test_steps_that_began_and_did_not_end_since_the_last_start_are_the_current_ones(tmp_path):
    before = (OPENED, started("round_00/student"))
    after = (OPENED, reused("index"), started("round_01/labels/shard_0001"), started("round_01/calibration"))
    status = run_status(write_run(tmp_path / "demo", *before, *after, done("round_01/labels/shard_0001")))
    assert status.current == ("round_01/calibration",)


def test_rounds_carry_score_interval_and_outcome_and_the_best_is_the_earliest_of_equals(tmp_path):
    folder = write_run(tmp_path / "demo", OPENED, {"event": "finished"})
    for index, (miou, outcome) in enumerate([(0.5, "first"), (0.6, "improved"), (0.6, "inconclusive")]):
        write_round(folder, index, miou, outcome)
    status = run_status(folder)
    assert [item.outcome for item in status.rounds] == ["first", "improved", "inconclusive"]
    assert status.best is not None
    assert status.best.round_index == 1
    assert "round 1: mIoU 0.6000 (0.5900 … 0.6100) on 42 gate images: improved" in run_text(status, NOW)
    assert "0.6000 (round 1)" in runs_table([status], NOW)


def test_a_round_decided_before_an_update_is_marked_until_it_is_decided_again(tmp_path):
    decided = {"event": "decided", "round_index": 0}
    update = {"event": "opened", "update": True}
    folder = write_run(tmp_path / "demo", OPENED, decided, update)
    write_round(folder, 0, 0.5, "first")
    assert run_status(folder).rounds[0].stale
    assert not run_status(write_run(folder, OPENED, decided, update, decided)).rounds[0].stale


@pytest.mark.parametrize(
    ("text", "iteration"),
    [
        ('{"iteration": 50, "num_iterations": 200, "loss": 0.5, "lr": 1, "eta_s": 90}\n', 50),
        ('{"iteration": 50, "num_iterations": 200, "loss": 0.5, "eta_s": 90}\n{"iteration": 75, "num_it', 50),
        ("", None),
        ("not JSON\n", None),
    ],
)
def test_training_progress_is_the_last_whole_line(tmp_path, text, iteration):
    folder = write_run(tmp_path / "demo", OPENED)
    write_progress(folder, "round_01/student", text)
    training = run_status(folder).training
    assert (None if training is None else training.iteration) == iteration
    if training is not None:
        assert training.place == "round_01/student"


def test_the_time_left_of_a_training_shrinks_as_time_passes_since_it_was_noted(tmp_path):
    folder = write_run(tmp_path / "demo", OPENED)
    write_progress(folder, "round_01/student", '{"iteration": 5, "num_iterations": 9, "loss": 0.5, "eta_s": 90}\n')
    with lock_run(folder):
        status = run_status(folder)
    text = run_text(status, NOW + timedelta(seconds=30))
    assert "iteration 5 of 9, loss 0.5000, ETA 1 min 0 s" in text
    assert "waits to be resumed" in run_text(run_status(folder), NOW)


def test_shards_are_counted_over_reused_and_new_ones_and_planned_from_the_index(tmp_path):
    shards = [reused("round_01/labels/shard_0000"), started("round_01/labels/shard_0001")]
    folder = write_run(tmp_path / "demo", OPENED, *shards, started("round_01/labels/shard_0002"))
    (folder / "round_01").mkdir()
    assert run_status(folder).rounds[0].shards == Shards(1, None)
    index = folder / "index.00000000"
    index.mkdir()
    summary = {"num_images": {"unlabeled": 30, "calib": 10, "test": 99}, "quarantined": [{}, {}]}
    (index / "summary.json").write_text(json.dumps(summary))
    status = run_status(folder)
    assert status.rounds[0].shards == Shards(1, 4)
    assert status.num_quarantined == 2


def test_quarantined_images_are_counted_once_however_often_a_run_was_resumed(tmp_path):
    event = {"event": "quarantined", "image_id": "unlabeled_0/bad.jpg"}
    folder = write_run(tmp_path / "demo", OPENED, event, OPENED, event)
    (folder / "quarantine" / "round_00_student").mkdir(parents=True)
    status = run_status(folder)
    assert (status.num_quarantined, status.num_set_aside) == (1, 1)


def test_the_last_error_is_told_in_one_line(tmp_path):
    error = {"event": "stopped", "error": "StepError: the child died\n  Traceback"}
    text = run_text(run_status(write_run(tmp_path / "demo", OPENED, error)), NOW)
    assert "last error: StepError: the child died\n" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("name", ["run.json", "events.jsonl", "round_00/round.json", "index.00000000/summary.json"])
@pytest.mark.parametrize("damage", [b"", b"{", b"[1, 2]", b"null", b"\xff\xfe"])
def test_a_damaged_file_costs_its_part_and_never_the_whole(tmp_path, name, damage):
    folder = write_run(tmp_path / "demo", OPENED, started("round_01/labels/shard_0000"))
    write_round(folder, 0, 0.5, "first")
    (folder / "index.00000000").mkdir()
    (folder / "index.00000000" / "summary.json").write_text('{"num_images": {"unlabeled": 30}}')
    (folder / name).write_bytes(damage)
    assert run_text(run_status(folder), NOW).startswith("demo: ")


def test_runs_are_found_by_id_or_by_path_and_a_wrong_name_gets_the_nearest(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "artifacts" / "demo")
    (tmp_path / "artifacts" / "not a run").mkdir()
    assert run_folders(tmp_path / "artifacts") == (folder,)
    assert named_run("demo", tmp_path / "artifacts") == folder
    monkeypatch.chdir(folder)
    assert named_run(".", tmp_path / "artifacts") == folder
    with pytest.raises(RunError, match="did you mean demo"):
        named_run("dema", tmp_path / "artifacts")
    with pytest.raises(RunError, match="runs there: none"):
        named_run("demo", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (3700, "1 h 1 min"), (90000, "1 d 1 h")]
)
def test_durations_name_their_two_largest_units(seconds, text):
    assert duration(seconds) == text


def test_status_imports_no_heavy_library():
    heavy = ("torch", "prefect", "pyarrow", "numpy", "cv2", "pydantic")
    code = (
        "import sys, segcore.steps.status_text, segcore.steps.run_folders, flows.cli_runs;"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
