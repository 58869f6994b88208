"""Students that are ensembles: trained, chosen on calib, and known to all that knows a run; killed and resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segcore.config.load import load_config
from segcore.data.label_maps import LabelMaps
from segcore.process.jobs import TrainJob
from segcore.pseudo.predictions import PredictionWriter
from segcore.pseudo.votes import Votes, VoteWriter, votes_path
from segcore.steps import label, student_ensemble, train
from segcore.steps.diff_rounds import diff_rounds
from segcore.steps.ensemble import EnsembleRequest, find_ensemble
from segcore.steps.ensemble_files import read_ensemble, teachers_of
from segcore.steps.explain import explain, rounds_of
from segcore.steps.finished import existing_run, published_index
from segcore.steps.garbage import find_garbage, remove_garbage
from segcore.steps.index import ground_truth_path, images_of
from segcore.steps.model_files import ModelRequest, find_model
from segcore.steps.plan import plan_run
from segcore.steps.purge import descendants_of
from segcore.store.events import read_events
from segcore.store.manifest import read_manifest
from segcore.store.verify import verify_run
from segcore.trust.lineage import Lineage

from .stub_loop import SMALL, drawn, replace_parts, stub_training, walk

MEMBERS = "ensemble.members=[{head_channels: 8}, {head_channels: 24}]"
ENSEMBLE = (
    *SMALL, "loop.rounds=1", "roles.gate_share=0.4", MEMBERS, "loop.control=true", "loop.final_refit=true",
)  # fmt: skip


def votes_with_one_bad_model(run: Any, index: Any, checkpoint: Any, what: Any) -> dict[str, Any]:
    """Vote as three models do of which the first and the last are each right, and surer, on a half of every image.

    The second is wrong everywhere, and so sure of it that it spoils the vote.
    """
    path = what.work / label.PREDICTIONS
    with (
        closing(LabelMaps(ground_truth_path(run, index))) as truth,
        VoteWriter(votes_path(path)) as voter,
        PredictionWriter(path) as writer,
    ):
        for image in what.images:
            wanted = truth[image.image_id][::2, ::2]
            right = np.zeros(wanted.shape, bool)
            if "_1." not in checkpoint.path:
                right[slice(0, 16) if "_2." in checkpoint.path else slice(16, 32)] = True
            sure = (
                np.where(right, 0.6, 0.8 if "_1." in checkpoint.path else 0.5) + int(checkpoint.digest[:2], 16) / 5000
            )
            is_named = np.arange(3)[:, None, None] == np.where(right, wanted, (wanted + 1) % 3)
            voter.write(Votes(image.image_id, np.where(is_named, sure, (1 - sure) / 2).astype(np.float16), 2))
            writer.write(drawn(image, checkpoint.digest, None))
    return {"num_images": len(what.images), "quarantined": []}


def with_stubs(put: Any) -> None:
    """Replace tasks and child programs, the votes too."""
    replace_parts(put)
    put(student_ensemble, "predict", votes_with_one_bad_model)


@pytest.fixture(scope="module")
def finished_ensemble(tmp_path_factory, write_tiny) -> Iterator[Path]:
    """Return the folder of a finished run of three models, with control and refit. To be looked at only."""
    with pytest.MonkeyPatch.context() as patch:
        with_stubs(patch.setattr)
        yield walk(write_tiny(tmp_path_factory.mktemp("ensemble"), "tiny"), ENSEMBLE)


@pytest.fixture
def own_run(quick_folder: Path, write_tiny, monkeypatch) -> Path:
    """Return a config to run with the stubs."""
    with_stubs(monkeypatch.setattr)
    return write_tiny(quick_folder, "tiny")


def made(folder: Path, session: int = -1) -> list[str]:
    """Return the places of the steps that a session made."""
    sessions: list[list[str]] = []
    for event in read_events(folder):
        if event["event"] == "opened":
            sessions.append([])
        elif event["event"] == "step_done":
            sessions[-1].append(event["place"])
    return sessions[session]


def student_of(folder: Path, round_index: int) -> Any:
    return rounds_of(existing_run(str(folder)))[round_index].student


def test_the_model_that_harms_the_vote_is_no_member_and_labels_nothing(finished_ensemble: Path) -> None:
    run = existing_run(str(finished_ensemble))
    for round_index in (0, 1):
        student = student_of(finished_ensemble, round_index)
        members = read_ensemble(run.path / student.path)
        assert [(member.model, member.share) for member in members] == [(0, 0.5), (2, 0.5)]
        files = teachers_of(run, student)
        assert [Path(item.checkpoint).parent.name for item in files] == ["member_0", "member_2"]
        assert [item.weight for item in files] == [0.5, 0.5]
    told = json.loads((run.path / student.path).with_name("choice.json").read_text())
    assert told["calib"]["out_of_fold"] > told["calib"]["equal"]
    assert told["calib"]["out_of_fold"] > max(told["calib"]["alone"])
    shards = [read_manifest(folder) for folder in run.path.glob("round_01/labels/shard_*")]
    assert {manifest.inputs["weights"] for manifest in shards} == {student_of(finished_ensemble, 0).digest}


def test_weights_are_chosen_on_calib_and_the_gate_scores_the_vote(finished_ensemble: Path) -> None:
    run = existing_run(str(finished_ensemble))
    calib = sorted(image.image_id for image in images_of(run, published_index(run), "calib"))
    for folder in run.path.glob("round_*/*votes*"):
        assert [image[0] for image in read_manifest(folder).inputs["images"]] == calib
    scored = read_manifest(next(run.path.glob("round_01/evaluation.*"))).inputs
    assert scored["weights"] == student_of(finished_ensemble, 1).digest


def test_its_lineage_is_that_of_all_members(finished_ensemble: Path) -> None:
    run = existing_run(str(finished_ensemble))
    student = student_of(finished_ensemble, 1)
    lineage = Lineage.read(run.path / student.lineage)
    own = [
        Lineage.read(path / "lineage.json") for path in run.path.glob("round_01/student*") if path.suffix != ".resume"
    ]
    assert len(own) == 3
    assert all(lineage.images >= each.images for each in own)
    digests = {student_of(finished_ensemble, 0).digest, *(m.weights for m in read_ensemble(run.path / student.path))}
    assert digests <= set(lineage.ancestors)


def test_models_learn_the_same_with_seeds_of_their_own(finished_ensemble: Path) -> None:
    inputs = [read_manifest(path).inputs for path in finished_ensemble.glob("round_01/student*.????????")]
    assert len({each["seed"] for each in inputs}) == 3
    assert sorted(each["model"]["head_channels"] for each in inputs) == [8, 16, 24]
    assert len({each["pseudo_labels"] for each in inputs}) == 1


def test_control_is_chosen_anew_and_the_refit_keeps_the_winners_weights(finished_ensemble: Path) -> None:
    winner = max(rounds_of(existing_run(str(finished_ensemble))), key=lambda record: record.score.miou.point)
    made_places = made(finished_ensemble)
    assert "final/refit_1" not in made_places
    assert {"final/refit", "final/refit_2", "final/refit_ensemble"} <= set(made_places)
    assert not any("refit_votes" in place for place in made_places)
    joined = read_manifest(next(finished_ensemble.glob("final/refit_ensemble.*")))
    assert joined.value["shares"] == [0.5, 0.0, 0.5]
    if winner.round_index > 0:
        assert "round_01/control_ensemble" in made_places


def test_outputs_open_as_one_model_or_vote_with_others(finished_ensemble: Path) -> None:
    outputs = finished_ensemble / "outputs"
    assert not (outputs / "model.pth").exists()
    for request in (ModelRequest(str(finished_ensemble), None), ModelRequest(None, str(outputs))):
        model = find_model(request)
        assert model.checkpoint == outputs / "ensemble" / "ensemble.json"
        assert model.lineage is not None
        assert model.known_classes.names == ("background", "red", "green")
    refit = outputs / "refit"
    both = find_ensemble(EnsembleRequest(str(finished_ensemble), (str(refit),), (), (3.0, 1.0)))
    assert [item.weight for item in both.teachers] == [1.5, 1.5, 0.5, 0.5]
    assert len({digest for digest, _, _ in both.digests}) == 4


def test_report_explain_and_diff_tell_of_it(finished_ensemble: Path) -> None:
    report = (finished_ensemble / "outputs" / "report.html").read_text()
    assert "ensemble.members[1]: efficientnet_lite0_upernet" in report
    assert "on calib images they were chosen without" in report
    assert f"student {student_of(finished_ensemble, 1).digest[:12]}" in explain(str(finished_ensemble), "train/000.png")
    assert "train.pseudo_share" not in diff_rounds(str(finished_ensemble), 0, 1, 1)


def test_a_purge_finds_all_that_came_of_an_ensemble_and_of_a_member(finished_ensemble: Path) -> None:
    first = student_of(finished_ensemble, 0)
    run = existing_run(str(finished_ensemble))

    def places(digest: str, itself: bool) -> set[str]:
        found = descendants_of(run.path, digest, itself).steps
        return {folder.relative_to(run.path).as_posix().rpartition(".")[0] for folder in found}

    labels = {"round_01/labels/shard_0000", "round_01/student", "round_01/student_2", "round_01/ensemble"}
    assert labels <= places(first.digest, itself=False)
    assert not {"round_00/student", "round_00/ensemble"} & places(first.digest, itself=False)
    whole = places(first.digest, itself=True)
    assert {"round_00/student", "round_00/student_1", "round_00/student_2", "round_00/ensemble"} | labels <= whole
    assert {"round_00/ensemble"} | labels <= places(read_ensemble(run.path / first.path)[1].weights, itself=False)


def test_a_second_start_reuses_it_and_plan_verify_and_gc_know_it(own_run: Path) -> None:
    planned = plan_run(load_config(own_run, ENSEMBLE), own_run.parent / "artifacts" / "tiny")
    names = [step.place for step in planned.steps]
    assert names[1:7] == [
        "round_00/student", "round_00/student_1", "round_00/student_2", "round_00/votes", "round_00/votes_1",
        "round_00/votes_2",
    ]  # fmt: skip
    folder = walk(own_run, ENSEMBLE)
    walk(own_run, ENSEMBLE)
    assert made(folder) == []
    plan = plan_run(load_config(own_run, ENSEMBLE), folder)
    assert {step.verdict for step in plan.steps} == {"reuse", "again"}
    assert set(names) >= {step.place for step in plan.steps} - {"final/refit_ensemble"}
    assert find_garbage(folder) == ()
    assert verify_run(folder).whole


def test_equal_weights_redo_the_joining_alone_and_without_members_the_models_beside_go(own_run: Path) -> None:
    folder = walk(own_run, ENSEMBLE)
    equal = (*ENSEMBLE, "ensemble.weights=equal")
    plan = plan_run(load_config(own_run, equal), folder)
    first = next(step for step in plan.steps if step.verdict == "redo")
    assert (first.place, first.because[0]) == ("round_00/ensemble", "calib")
    assert "ensemble.weights" in first.because
    walk(own_run, equal, update=True)
    assert made(folder)[0] == "round_00/ensemble"
    assert [member.share for member in read_ensemble(folder / "outputs" / "ensemble" / "ensemble.json")] == [1 / 3] * 3
    walk(own_run, (*SMALL, "loop.rounds=1", "roles.gate_share=0.4"), update=True)
    assert (folder / "outputs" / "model.pth").exists()
    assert not (folder / "outputs" / "ensemble").exists()
    for item in find_garbage(folder):
        remove_garbage(folder, item)
    assert not [path for path in folder.rglob("*ensemble*") if "logs" not in path.parts]
    assert verify_run(folder).whole


def test_killed_between_members_it_trains_what_is_left_and_ends_the_same(own_run: Path, monkeypatch) -> None:
    expected = student_of(walk(own_run, ENSEMBLE, run_id="undisturbed"), 1)
    trained: list[str] = []

    def dying(job_path: Path, job: TrainJob, log_path: Path, options: Any) -> None:
        if len(trained) == 4:
            trained.append("died")
            raise KeyboardInterrupt
        trained.append(options.place)
        stub_training(job_path, job, log_path, options)

    monkeypatch.setattr(train, "run_training", dying)
    with pytest.raises(KeyboardInterrupt):
        walk(own_run, ENSEMBLE)
    assert trained[3:] == ["round_01/student", "died"]
    folder = walk(own_run, ENSEMBLE)
    assert trained[5:7] == ["round_01/student_1", "round_01/student_2"]
    assert student_of(folder, 1).digest == expected.digest


def test_students_that_start_from_their_teacher_each_start_from_their_own_weights(own_run: Path) -> None:
    folder = walk(own_run, (*ENSEMBLE, "student.start=teacher", "loop.final_refit=false"))
    members = {member.model: member.weights for member in read_ensemble(folder / student_of(folder, 0).path)}
    starts = [
        read_manifest(next(folder.glob(f"round_01/student{name}.????????"))).inputs["start"]
        for name in ("", "_1", "_2")
    ]
    assert starts == [members[0], None, members[2]]


def test_without_calib_images_weights_are_equal(own_run: Path) -> None:
    folder = walk(own_run, (*SMALL, "loop.rounds=0", "roles.gate_share=1.0", MEMBERS, "filter.policy=fixed"))
    assert [member.share for member in read_ensemble(folder / student_of(folder, 0).path)] == [1 / 3] * 3
    assert not list(folder.glob("round_00/votes*"))
