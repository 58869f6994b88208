"""Following lineage through a finished run: explain, diff, and purge with what the next start then redoes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.cli import main
from segcore.errors import DataError, RunError
from segcore.pseudo.predictions import PredictionWriter
from segcore.steps import label
from segcore.steps.diff_rounds import diff_rounds
from segcore.steps.explain import explain
from segcore.steps.purge import descendants_of
from segcore.store.events import read_events

from .stub_loop import SMALL, drawn, walk


def round_of(run_dir: Path, number: int) -> dict:
    return json.loads((run_dir / f"round_{number:02d}" / "round.json").read_text())


def decisive(record: dict) -> tuple:
    """Return what a round is known by, whether or not it was reused."""
    labels = record["pseudo_labels"]
    return record["student"], record["score"], record["decision"], labels and labels["digest"]


@pytest.fixture(scope="module")
def run_dir(finished: Path) -> Path:
    return finished / "artifacts" / "tiny"


def test_explain_tells_who_labelled_a_pool_image_what_was_kept_and_who_learnt_from_it(run_dir):
    text = explain(str(run_dir), "unlabeled_0/unlabeled/000.png")
    assert text.startswith("unlabeled_0/unlabeled/000.png: role unlabeled, 64 x 64 px")
    for number in (1, 2):
        assert f"labelled by teacher {round_of(run_dir, number)['teacher']['digest'][:12]}" in text
    assert "  neither the student nor a teacher of it learnt from this image\nround 1" in text  # round 0
    assert text.count("the student learnt from a pseudo-label of it") == 2
    for name in ("background", "red", "green"):
        assert f"{name}: predicted on " in text


def test_explain_tells_why_an_image_has_no_pseudo_label(few_images: Path, stub_programs: None, monkeypatch) -> None:
    monkeypatch.setattr(label, "predict", agreeing)
    run_dir = walk(
        few_images, (*SMALL, "loop.rounds=2", "label.flip=true", "filter.reliable_share=0.3", "filter.reliable_step=1")
    )
    first, second = explain(str(run_dir), "unlabeled_0/unlabeled/002.png").split("round 2:")
    assert "reliability, the agreement of its views: 0.100" in first
    assert "no pseudo-label: it is not reliable enough for this round" in first
    assert "neither the student nor a teacher of it learnt from this image" in first
    assert "of its pixels are kept" in second


def agreeing(run: Any, index: Any, checkpoint: Any, what: Any) -> dict[str, Any]:
    """Write predictions whose views agree the less, the later an image comes."""
    with PredictionWriter(what.work / label.PREDICTIONS) as writer:
        for image in what.images:
            agreement = 0.1 if image.file_name.endswith("2.png") else 0.9
            found = drawn(image, checkpoint.digest, label.small_size(run, image))
            writer.write(replace(found, agreement=agreement))
    return {"num_images": len(what.images), "quarantined": []}


def test_explain_tells_which_students_an_image_may_score(run_dir):
    index = json.loads(next(run_dir.glob("index.*/manifest.json")).read_text())["value"]
    assert index["num_images"]["gate"] >= 1
    texts = [explain(str(run_dir), f"val/{number:03d}.png") for number in range(6)]
    gate = [text for text in texts if "role gate" in text]
    assert all(text.count("may score this student") == 3 for text in gate)
    assert "the student learnt from its ground truth" in explain(str(run_dir), "train/001.png")


def test_explain_names_what_comes_near_when_there_is_no_such_image(run_dir):
    with pytest.raises(DataError, match=r"unlabeled/00O.png must be an image of tiny.*did you mean .*unlabeled/000"):
        explain(str(run_dir), "unlabeled/00O.png")
    with pytest.raises(DataError, match="must mean one image, and means"):
        explain(str(run_dir), "000.png")


def test_diff_shows_settings_scores_thresholds_and_the_images_that_changed_most(run_dir):
    text = diff_rounds(str(run_dir), 1, 2, num_images=2)
    first, second = (round_of(run_dir, number)["score"]["miou"]["point"] for number in (1, 2))
    assert f"mIoU        IoU {first:.3f} → {second:.3f}" in text
    assert "filter.share: 0.8 → 0.9" in text
    assert "expected precision" in text
    assert "changed class; " in text
    assert text.count("of its pixels changed class") == 2
    assert "round 2 alarm: churn (warning)" in text


def test_diff_with_round_0_has_no_pseudo_labels_to_compare(run_dir):
    assert diff_rounds(str(run_dir), 0, 1, 5).endswith("round 0 has no pseudo-labels")
    with pytest.raises(RunError, match=r"round_07/round.json must be a finished round"):
        diff_rounds(str(run_dir), 0, 7, 5)


def test_a_purge_moves_what_descends_from_the_teacher_and_the_next_start_makes_just_that_anew(
    finished: Path, finished_copy: str
) -> None:
    run_dir = finished / "artifacts" / finished_copy
    before = {number: round_of(run_dir, number) for number in range(3)}
    second_teacher = before[2]["teacher"]["digest"]
    found = descendants_of(run_dir, second_teacher)
    moved = {folder.relative_to(run_dir).as_posix().rpartition(".")[0] for folder in found.steps}
    assert {"round_02/pseudo_labels", "round_02/card", "round_02/student", "round_02/evaluation"} <= moved
    assert not any(place.startswith(("round_00", "round_01/s", "round_01/p", "index")) for place in moved)

    arguments = ["purge", finished_copy, "--teacher", second_teacher[:10], "--artifacts", str(run_dir.parent)]
    listed = CliRunner().invoke(main, arguments)
    assert "round_02/pseudo_labels" in listed.output
    assert (run_dir / "round_02" / "round.json").exists()
    done = CliRunner().invoke(main, [*arguments, "--yes"])
    assert done.exit_code == 0, done.output
    assert not list(run_dir.glob("round_02/student.*"))
    assert any("purged" in path.read_text() for path in run_dir.glob("quarantine/*/reason.json"))

    num_before = len(list(read_events(run_dir)))
    walk(finished / "tiny.yaml", SMALL, run_id=finished_copy)
    made = {e["place"] for e in list(read_events(run_dir))[num_before:] if e["event"] == "step_done"}
    assert made == moved
    for number in range(3):
        assert decisive(round_of(run_dir, number)) == decisive(before[number])


def test_a_purge_of_the_teacher_itself_trains_it_anew(finished: Path, finished_copy: str) -> None:
    run_dir = finished / "artifacts" / finished_copy
    teacher = round_of(run_dir, 1)["student"]["digest"]
    moved = {folder.relative_to(run_dir).parts[:2] for folder in descendants_of(run_dir, teacher, itself=True).steps}
    places = {f"{first}/{second.rpartition('.')[0]}" for first, second in moved if "." in second}
    assert {"round_01/student", "round_01/evaluation", "round_02/student"} <= places
    assert "round_01/pseudo_labels" not in places


def test_a_teacher_that_the_run_does_not_know_is_refused_with_those_it_knows(run_dir: Path) -> None:
    known = round_of(run_dir, 0)["student"]["digest"][:12]
    for digest in ("0" * 12, known[:4]):
        with pytest.raises(RunError, match=f"--teacher must be at least 8 hex digits.*{known}"):
            descendants_of(run_dir, digest)
