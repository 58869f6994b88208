"""The final refit: a training on all labels after the loop, known to all that knows a run, scored by nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from segcore.config.load import load_config
from segcore.data.scan import scan_images
from segcore.data.sources import SourceImage
from segcore.errors import HonestScoreError
from segcore.records import Checkpoint, RoundRecord
from segcore.steps.finished import existing_run, published_index
from segcore.steps.garbage import find_garbage
from segcore.steps.honest_set import Provenance, honest_set
from segcore.steps.index import images_of
from segcore.steps.model_files import ModelRequest, find_model
from segcore.steps.plan import plan_run
from segcore.steps.refit import REFIT_ROLES, refit_spec, wants_refit
from segcore.steps.run import Run
from segcore.steps.status import run_status
from segcore.steps.status_text import run_text
from segcore.steps.train import PseudoLabels
from segcore.store.events import read_events
from segcore.store.verify import verify_run
from segcore.trust.lineage import Lineage

from .conftest import keep_few
from .stub_loop import SMALL, replace_parts, walk

REFIT = (*SMALL, "loop.final_refit=true", "roles.report_share=0.3")
PLACE = "final/refit"


@pytest.fixture(scope="module")
def refit(tmp_path_factory, write_tiny) -> Iterator[Path]:
    """Return the folder of a finished run with a refit and a report set. To be looked at only."""
    root = tmp_path_factory.mktemp("refit")
    with pytest.MonkeyPatch.context() as patch:
        replace_parts(patch.setattr)
        config = write_tiny(root, "tiny")
        keep_few(root)
        yield walk(config, REFIT)


def made(folder: Path) -> list[str]:
    """Return the places of the steps that the last session made."""
    events = list(read_events(folder))
    start = max(number for number, event in enumerate(events) if event["event"] == "opened")
    return [event["place"] for event in events[start:] if event["event"] == "step_done"]


def test_it_learns_from_train_calib_and_gate_and_never_from_report(refit: Path) -> None:
    run = existing_run(str(refit))
    index = published_index(run)
    seen = {image.sha256 for image in Lineage.read(refit / "outputs" / "refit" / "lineage.json").images}
    assert {image.sha256 for image in images_of(run, index, *REFIT_ROLES)} <= seen
    report = {image.sha256 for image in images_of(run, index, "report")}
    assert report
    assert not report & seen
    num_pseudo, num_labelled = json.loads((refit / "outputs" / "refit" / "model.pth").read_text())[-2:]
    assert (num_pseudo, num_labelled) == (5, len(images_of(run, index, *REFIT_ROLES)))


def test_its_model_lies_beside_the_scored_one_and_opens_like_any_other(refit: Path) -> None:
    found = find_model(ModelRequest(None, str(refit / "outputs" / "refit" / "model.pth")))
    assert found.known_classes.names == ("background", "red", "green")
    scored = find_model(ModelRequest(str(refit), None))
    assert scored.checkpoint.read_bytes() != found.checkpoint.read_bytes()


def test_val_images_cannot_score_it(refit: Path) -> None:
    model = find_model(ModelRequest(None, str(refit / "outputs" / "refit" / "model.pth")))
    data = refit.parents[1] / "data"
    run = existing_run(str(refit))
    names = [i.file_name for i in images_of(run, published_index(run), "calib", "gate")]
    scans, _ = scan_images([SourceImage("set", name, data, None) for name in names], 1.0)
    with pytest.raises(HonestScoreError, match="at least 1 images this lineage has not seen"):
        honest_set(scans, model, Provenance(), 1)


def test_no_number_is_printed_for_it(refit: Path) -> None:
    report = (refit / "outputs" / "report.html").read_text()
    assert "training on 8 labelled (train, calib and gate) and 5 pseudo-labelled images" in report
    assert "It is not scored" in report
    status = run_status(refit)
    assert "outputs/refit/: not scored" in run_text(status, status.changed)
    assert not [event for event in read_events(refit) if "refit" in str(event.get("place")) and "miou" in event]


def test_a_second_start_reuses_it_and_plan_verify_and_gc_know_it(refit: Path, stub_programs: None) -> None:
    config = refit.parents[1] / "tiny.yaml"
    walk(config, REFIT)
    assert made(refit) == []
    plan = plan_run(load_config(config, REFIT), refit)
    assert {step.place: step.verdict for step in plan.steps}[PLACE] == "reuse"
    assert plan.steps[-2].place == PLACE
    assert find_garbage(refit) == ()
    assert verify_run(refit).whole


@pytest.fixture
def own_run(few_images: Path, stub_programs: None) -> Path:
    """Return the config of a finished run with a refit, to be changed."""
    walk(few_images, REFIT)
    return few_images


def test_changed_thresholds_redo_it_and_switched_off_it_is_removed(own_run: Path) -> None:
    folder = walk(own_run, (*REFIT, "filter.share=0.5"), update=True)
    assert made(folder)[-1] == PLACE
    off = (*SMALL, "roles.report_share=0.3", "filter.share=0.5")
    walk(own_run, off, update=True)
    assert not (folder / "outputs" / "refit").exists()
    assert (folder / "outputs" / "model.pth").exists()
    gone = [item.path.relative_to(folder).as_posix() for item in find_garbage(folder)]
    assert len([name for name in gone if name.startswith("final/refit.") and not name.endswith(".resume")]) == 2


def test_before_the_loop_has_ended_it_is_planned_last(few_images: Path) -> None:
    plan = plan_run(load_config(few_images, REFIT), few_images.parent / "artifacts" / "tiny")
    assert [(step.place, step.verdict) for step in plan.steps[-2:]] == [(PLACE, "after"), ("outputs", "after")]


def record_of(refit: Path, round_index: int) -> RoundRecord:
    """Return a round's record with what a refit asks of it."""
    raw = json.loads((refit / f"round_{round_index:02d}" / "round.json").read_text())
    return RoundRecord(round_index, None, Checkpoint(**raw["student"]), None, None, None, None)  # type: ignore[arg-type]


def test_when_round_0_won_it_learns_from_labels_alone(refit: Path) -> None:
    run = existing_run(str(refit))
    index = published_index(run)
    labels = PseudoLabels(index.output, 5, "digest")
    assert refit_spec(run, index, record_of(refit, 1), labels).pseudo_labels == labels
    first = refit_spec(run, index, record_of(refit, 0), labels)
    assert (first.pseudo_labels, first.teacher) == (None, None)


def test_a_given_checkpoint_that_won_has_no_recipe_to_repeat(refit: Path) -> None:
    run, given = existing_run(str(refit)), {"checkpoint": "a.pth", "config": "a.py", "trained_on": []}

    class Given(Run):
        @property
        def config(self):  # type: ignore[no-untyped-def]
            model = run.config.model.model_copy(update={"teacher": given})
            return run.config.model_copy(update={"model": model})

    with_teacher = Given(run.run_id, run.folder)
    assert not wants_refit(with_teacher, record_of(refit, 0))
    assert wants_refit(with_teacher, record_of(refit, 1))
    assert wants_refit(run, record_of(refit, 0))
