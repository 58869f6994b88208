"""A teacher that collapses in round 2, in every way there is an alarm for, and everything an alarm may do about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segcore.config.load import load_config
from segcore.data.label_maps import LabelMaps
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.records import IGNORE_INDEX, ImageRecord
from segcore.steps import label
from segcore.steps.garbage import find_garbage
from segcore.steps.index import ground_truth_path
from segcore.steps.plan import plan_run
from segcore.steps.status import run_status
from segcore.steps.status_text import run_text
from segcore.store.events import read_events
from segcore.trust import alarms

from .stub_loop import SIDE, SMALL, walk

RED = 1
SETTINGS = (*SMALL, "filter.policy=fixed", "filter.tau=0.5")
Maps = tuple[np.ndarray, np.ndarray]  # label map and confidence levels


def red_is_gone(maps: Maps, image: ImageRecord) -> Maps:
    return np.where(maps[0] == RED, 0, maps[0]), maps[1]


def red_is_everywhere(maps: Maps, image: ImageRecord) -> Maps:
    spread = maps[0].copy()
    spread[:, : SIDE * 3 // 4] = RED
    return spread, maps[1]


def red_and_green_change_places(maps: Maps, image: ImageRecord) -> Maps:
    return np.array([0, 2, 1])[maps[0]], maps[1]


def calib_is_wrong_but_as_sure(maps: Maps, image: ImageRecord) -> Maps:
    wrong = np.arange(SIDE) % 2 == 0
    return np.where(wrong & (image.role == "calib"), (maps[0] + 1) % 3, maps[0]), maps[1]


def everything_is_surer_and_no_better(maps: Maps, image: ImageRecord) -> Maps:
    wrong = np.arange(SIDE) % 8 == 0
    return np.where(wrong & (image.role == "calib"), (maps[0] + 1) % 3, maps[0]), maps[1] + 60


def the_pool_is_strange(maps: Maps, image: ImageRecord) -> Maps:
    return maps[0], maps[1] - (0 if image.role == "calib" else 15)


COLLAPSES: dict[str, Callable[[Maps, ImageRecord], Maps]] = {
    "vanished": red_is_gone,
    "exploded": red_is_everywhere,
    "churn": red_and_green_change_places,
    "drift": red_and_green_change_places,
    "calibration": calib_is_wrong_but_as_sure,
    "confidence": everything_is_surer_and_no_better,
    "shift": the_pool_is_strange,
}


@pytest.fixture
def collapsing(
    tmp_path: Path, write_tiny: Callable[[Path, str], Path], stub_programs: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Return a function (kind, *overrides, …) that walks a loop whose teacher collapses so after a healthy round."""
    config = write_tiny(tmp_path, "tiny")
    monkeypatch.setattr(alarms, "MIN_CALIB_IMAGES", 2)

    def loop(kind: str, *overrides: str, update: bool = False, healthy: str = "round_01") -> Path:
        monkeypatch.setattr(label, "predict", predicting(COLLAPSES[kind], healthy))
        return walk(config, (*SETTINGS, *overrides), update)

    return loop


def predicting(collapse: Callable[[Maps, ImageRecord], Maps], healthy: str) -> Callable[..., dict[str, Any]]:
    """Return a stub that is right about labelled images and follows the image elsewhere, in the healthy round."""

    def predict(run: Any, index: Any, checkpoint: Any, what: Any) -> dict[str, Any]:
        with closing(LabelMaps(ground_truth_path(run, index))) as truth, \
                PredictionWriter(what.work / label.PREDICTIONS) as writer:  # fmt: skip
            for image in what.images:
                maps = true_maps(image, truth)
                label_map, levels = maps if healthy in str(what.work) else collapse(maps, image)
                writer.write(Prediction(image.image_id, label_map.astype(np.uint8), levels.astype(np.uint8)))
        return {"num_images": len(what.images), "quarantined": []}

    return predict


def true_maps(image: ImageRecord, truth: LabelMaps) -> Maps:
    """Return a tenth of red and of green where there is no truth; levels around 40, a confidence of 0.92."""
    rng = np.random.default_rng(int(image.sha256[:8], 16))
    drawn = np.zeros((SIDE, SIDE), np.int64)
    drawn[-8:], drawn[:, -8:] = RED, 2
    return (truth[image.image_id].astype(np.int64) if image.image_id in truth else drawn), rng.integers(
        30, 50, (SIDE, SIDE)
    )


def card_of(run_dir: Path, place: str = "round_02") -> dict[str, Any]:
    (path,) = run_dir.glob(f"{place}/card.*/card.json")
    card: dict[str, Any] = json.loads(path.read_text())
    return card


def maps_in(run_dir: Path, place: str, name: str = "label_maps.arrow") -> dict[str, np.ndarray]:
    (path,) = run_dir.glob(f"{place}.*/{name}")
    with closing(LabelMaps(path)) as maps:
        return {image_id: maps[image_id] for image_id in maps.ids()}


def used_by(run_dir: Path, round_index: int) -> str:
    """Return the folder of the pseudo-labels that a round's student learnt from."""
    record = json.loads((run_dir / f"round_{round_index:02d}" / "round.json").read_text())
    return str(record["pseudo_labels"]["path"]).rpartition(".")[0]


@pytest.mark.parametrize("kind", COLLAPSES)
def test_a_collapse_raises_its_alarm_in_its_round_and_is_seen(kind: str, collapsing: Callable[..., Path]) -> None:
    run_dir = collapsing(kind, f"loop.rounds={3 if kind == 'drift' else 2}")
    number = 3 if kind == "drift" else 2  # against the first teacher: in round 2 that is the last one too
    found = [alarm for alarm in card_of(run_dir, f"round_{number:02d}")["alarms"] if alarm["kind"] == kind]
    assert found
    assert all(alarm["action"] == "warn" for alarm in found)
    early = {alarm["kind"] for alarm in card_of(run_dir, "round_01")["alarms"]}
    assert kind not in early
    assert used_by(run_dir, number) == f"round_{number:02d}/pseudo_labels"
    assert f"    alarm: {kind} (warning): {found[0]['message']}" in run_text(run_status(run_dir), datetime.now(UTC))
    assert found[0]["message"].split(":")[0] in (run_dir / "outputs" / "report.html").read_text()


def test_freezing_keeps_the_last_good_labels_of_the_class_and_says_whose_they_are(
    collapsing: Callable[..., Path],
) -> None:
    run_dir = collapsing("vanished", "alarms.vanished.action=freeze", "train.loss.confidence_weighted=true")
    assert used_by(run_dir, 2) == "round_02/guarded_labels"
    good, now = maps_in(run_dir, "round_01/pseudo_labels"), maps_in(run_dir, "round_02/guarded_labels")
    levels = maps_in(run_dir, "round_02/guarded_labels", "confidence.arrow")
    assert sum(int((label_map == RED).sum()) for label_map in good.values()) > 0
    for image_id, label_map in now.items():
        np.testing.assert_array_equal(label_map == RED, good[image_id] == RED)
        np.testing.assert_array_equal(levels[image_id] > 0, label_map != 255)
    (path,) = run_dir.glob("round_02/guarded_labels.*/annotations.json")
    by_class: dict[int, set[tuple[str, int]]] = {}
    for item in json.loads(path.read_text())["annotations"]:
        by_class.setdefault(item["category_id"], set()).add((item["segloop"]["teacher"], item["segloop"]["round"]))
    records = [json.loads((run_dir / f"round_{number:02d}" / "round.json").read_text()) for number in (1, 2)]
    first, second = (record["teacher"]["digest"] for record in records)
    assert by_class[1] == {(first, 1)}
    assert by_class[2] == {(second, 2)}
    scores = [item["score"] for item in json.loads(path.read_text())["annotations"] if item["category_id"] == 1]
    assert all(0.8 < score < 1 for score in scores)  # the first teacher's, which was sure of them
    assert used_by(run_dir, 1) == "round_01/pseudo_labels"
    card = json.loads(next(run_dir.glob("round_02/guarded_labels.*/card.json")).read_text())
    assert card["actions"]["kept_from"] == {"1": 1}
    assert card["classes"][RED]["precision"] == card_of(run_dir, "round_01")["classes"][RED]["precision"]
    assert card["classes"][RED]["kept_pixels"] > 0


def test_freezing_in_the_first_round_finds_nothing_to_keep_and_says_so(collapsing: Callable[..., Path]) -> None:
    run_dir = collapsing("vanished", "alarms.vanished.action=freeze", "loop.rounds=1", healthy="no round")
    assert used_by(run_dir, 1) == "round_01/pseudo_labels"
    assert not list(run_dir.glob("round_01/guarded_labels.*"))
    told = run_status(run_dir).rounds[1].alarms
    assert any(line.startswith("vanished (warning; no earlier labels to keep): red") for line in told)


def test_raising_tau_leaves_the_surest_part_of_the_class_alone(collapsing: Callable[..., Path]) -> None:
    run_dir = collapsing("exploded", "alarms.exploded.action=raise_tau", "alarms.raised_share=0.25")
    draft, now = maps_in(run_dir, "round_02/pseudo_labels"), maps_in(run_dir, "round_02/guarded_labels")
    before = sum(int((label_map == RED).sum()) for label_map in draft.values())
    after = sum(int((label_map == RED).sum()) for label_map in now.values())
    assert 0 < after <= 0.25 * before
    for image_id, label_map in now.items():
        changed = label_map != draft[image_id]
        assert (draft[image_id][changed] == RED).all()
        assert (label_map[changed] == IGNORE_INDEX).all()
    (path,) = run_dir.glob("round_02/guarded_labels.*/thresholds.json")
    taus = [row["tau"] for row in json.loads(path.read_text())["classes"]]
    assert taus[RED] > 0.5
    assert taus[0] == taus[2] == 0.5


def test_stopping_ends_the_loop_before_a_student_learns_and_publishes_the_best_round(
    collapsing: Callable[..., Path],
) -> None:
    run_dir = collapsing("vanished", "alarms.vanished.action=stop")
    assert not list(run_dir.glob("round_02/student.*"))
    assert not (run_dir / "round_02" / "round.json").exists()
    status = run_status(run_dir)
    assert status.state == "finished"
    assert "vanished: red" in str(status.stop_reason)
    assert (run_dir / "outputs" / "model.pth").is_file()


@pytest.mark.parametrize("action", ["freeze", "raise_tau", "stop"])
def test_starting_again_decides_the_same_and_the_plan_knows(action: str, collapsing: Callable[..., Path]) -> None:
    override = f"alarms.vanished.action={action}"
    run_dir = collapsing("vanished", override)
    num_before = len(list(read_events(run_dir)))
    collapsing("vanished", override)
    again = list(read_events(run_dir))[num_before:]
    assert [event for event in again if event["event"] == "step_done"] == []
    plan = plan_run(load_config(run_dir.parents[1] / "tiny.yaml", (*SETTINGS, override)), run_dir)
    assert {step.verdict for step in plan.steps} == {"reuse", "again"}
    if action == "stop":
        assert "alarm" in plan.ending


def test_once_the_alarm_only_warns_again_what_it_made_is_garbage_and_nothing_else(
    collapsing: Callable[..., Path],
) -> None:
    run_dir = collapsing("vanished", "alarms.vanished.action=freeze")
    assert find_garbage(run_dir) == ()
    collapsing("vanished", update=True)
    gone = {item.path.relative_to(run_dir).as_posix().rpartition(".")[0] for item in find_garbage(run_dir)}
    assert {"round_01/card", "round_02/card", "round_02/guarded_labels"} <= gone
    kept = ("round_00/", "round_01/student", "round_01/pseudo_labels", "round_01/labels", "round_02/labels", "index")
    assert [place for place in gone if place.startswith(kept)] == []
