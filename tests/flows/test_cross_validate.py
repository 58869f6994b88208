"""Cross-validation with stubs for training and prediction: chains, the score of all folds, the ensemble's labels."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows import cross_validate as flow
from flows import pseudo_label_loop
from segcore.cards.folds import folds_card
from segcore.errors import ConfigError, StepError
from segcore.records import LABELLED_ROLES
from segcore.steps import fold_ensemble, folds_outputs, out_of_fold
from segcore.steps.chains import ChainEnd, chain_specs
from segcore.steps.finished import existing_run, published_index
from segcore.steps.garbage import find_garbage
from segcore.steps.index import images_of
from segcore.store.events import read_events
from segcore.store.verify import verify_run
from segcore.trust.confusion import ConfusionTable
from segcore.trust.lineage import Lineage

from ..faults.stub_loop import SMALL, replace_parts, stub_predict, submitted

NUM_FOLDS, CARD = 3, "card.md"
CHANGES = [*SMALL, "loop.rounds=1"]


def run_chain(run: Any, config: str, spec: Any, update: bool) -> ChainEnd:
    """Run a chain as the subflow does, without Prefect."""
    try:
        return ChainEnd(spec, pseudo_label_loop.pseudo_label_loop.fn(config, spec.run_id, update, list(spec.overrides)))
    except Exception as error:
        return ChainEnd(spec, error)


def ensemble_predict(spec: Any, what: Any) -> dict[str, Any]:
    """Predict what follows from the first member and the image."""
    return stub_predict(spec.run, None, spec.members[0].student, what)


def published(spec: Any) -> Any:
    """Publish, and leave the card that the task would show beside the outputs."""
    summary = folds_outputs.publish_folds(spec)
    (Path(summary.outputs).parent / CARD).write_text(folds_card(spec, summary))
    return summary


def replace_all(put: Callable[[Any, str, Any], None]) -> None:
    """Replace tasks, subflows and child programs."""
    replace_parts(put)
    functions = {
        "score_out_of_fold": out_of_fold.score_out_of_fold,
        "label_shard": fold_ensemble.label_shard,
        "filter_labels": fold_ensemble.filter_labels,
        "publish_folds": published,
    }
    put(flow, "folds", SimpleNamespace(**{name: submitted(function) for name, function in functions.items()}))
    put(flow, "run_chain", run_chain)
    put(fold_ensemble, "predict", ensemble_predict)


def cross_validate(config: Path, changes: list[str] = CHANGES, update: bool = False) -> Any:
    """Run the flow; return its summary."""
    return flow.cross_validate.fn(str(config), NUM_FOLDS, None, update, changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, write_tiny: Callable[[Path, str], Path]) -> Iterator[Any]:
    """Return the summary of a finished cross-validation. To be looked at only."""
    with pytest.MonkeyPatch.context() as patch:
        replace_all(patch.setattr)
        yield cross_validate(write_tiny(tmp_path_factory.mktemp("folds"), "tiny"))


@pytest.fixture
def chains(finished: Any) -> list[Path]:
    """Return the folders of the chains, fold by fold."""
    artifacts = Path(finished.outputs).parents[1]
    return [artifacts / f"tiny-fold{fold}" for fold in range(NUM_FOLDS)]


def fold_of(folder: Path) -> set[str]:
    """Return the images of a chain's fold."""
    run = existing_run(str(folder))
    return {image.image_id for image in images_of(run, published_index(run), "report")}


def test_every_labelled_image_is_scored_once_by_a_model_without_it_in_its_lineage(
    finished: Any, chains: list[Path]
) -> None:
    table = ConfusionTable.read(next(Path(finished.outputs).parent.glob("folds/out_of_fold.*/confusion.parquet")))
    run = existing_run(str(chains[0]))
    index = published_index(run)
    labelled = images_of(run, index, *LABELLED_ROLES)
    assert sorted(table.image_ids) == sorted(image.image_id for image in labelled)
    by_id = {image.image_id: image for image in labelled}
    for fold, folder in enumerate(chains):
        seen = {image.sha256 for image in Lineage.read(folder / "outputs" / "lineage.json").images}
        held_out = fold_of(folder)
        assert held_out
        assert not {by_id[image_id].sha256 for image_id in held_out} & seen, f"fold {fold}"


def test_the_score_is_that_of_all_confusions_summed(finished: Any, chains: list[Path]) -> None:
    scores = json.loads((Path(finished.outputs) / "scores.json").read_text())
    total = sum(
        ConfusionTable.read(next(folder.glob("final/report_evaluation.*/confusion.parquet"))).total()
        for folder in chains
    )
    union = total.sum(axis=0) + total.sum(axis=1) - total.diagonal()
    assert scores["score"]["miou"]["point"] == pytest.approx((total.diagonal() / union).mean())
    assert finished.miou == scores["score"]["miou"]["point"]
    assert scores["score"]["num_images"] == 18
    assert scores["score"]["miou"]["low"] < finished.miou < scores["score"]["miou"]["high"]


def test_the_ensemble_is_in_outputs_with_its_labels_and_said_not_to_be_scored(finished: Any) -> None:
    outputs = Path(finished.outputs)
    assert [folder.name for folder in sorted((outputs / "members").iterdir())] == [
        f"fold_{fold}" for fold in finished.members
    ]
    assert (outputs / "members" / "fold_0" / "classes.json").is_file()
    assert len(json.loads((outputs / "annotations.json").read_text())["images"]) == 12
    assert len(list((outputs / "index_png").rglob("*.png"))) == 12
    assert (outputs / "submission.csv").read_text().startswith("image_id,PredictionString\n")
    assert any("not scored" in text for text in finished.caveats)
    page = (outputs / "cross_validation.html").read_text()
    assert "The fold ensemble is not scored" in page
    assert "Transductive" in page


def test_its_card_names_every_fold_and_the_files_that_are_there(finished: Any) -> None:
    card = (Path(finished.outputs).parent / CARD).read_text()
    assert all(f"tiny-fold{fold} |" in card for fold in range(NUM_FOLDS))
    assert "not scored" in card
    assert r"cross\_validation.html" in card
    assert r"suspicious\_labels.csv" in card


def test_labels_that_are_surely_contradicted_are_ranked_with_what_is_needed_to_look_at_them(finished: Any) -> None:
    with (Path(finished.outputs) / "suspicious_labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    shares = [float(row["share"]) for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert {row["given"] for row in rows} <= {"background", "red", "green"}
    assert all(row["given"] != row["suggested"] for row in rows)


def test_started_again_nothing_is_made_twice(finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_all(monkeypatch.setattr)
    artifacts = Path(finished.outputs).parents[1]
    before = {name: num_done(artifacts / name) for name in ("tiny-cv", "tiny-fold0", "tiny-fold2")}
    again = cross_validate(artifacts.parent / "tiny.yaml")
    assert again == finished
    assert {name: num_done(artifacts / name) for name in before} == before
    assert verify_run(artifacts / "tiny-cv").whole


def test_gc_removes_what_the_folds_were_made_of_before_and_nothing_of_an_unfinished_cross_validation(
    finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_all(monkeypatch.setattr)
    folder = Path(finished.outputs).parent
    config = folder.parents[1] / "tiny.yaml"
    assert find_garbage(folder) == ()
    old = next(folder.glob("folds/pseudo_labels.*"))
    cross_validate(config, [*CHANGES, "filter.share=0.5"], update=True)
    assert [item.path for item in find_garbage(folder)] == [old]
    (folder / "folds.json").unlink()
    assert find_garbage(folder) == ()
    assert cross_validate(config, update=True) == finished


def num_done(folder: Path) -> int:
    """Return how many steps were ever made in a run folder."""
    return sum(event["event"] == "step_done" for event in read_events(folder))


def test_a_chain_that_fails_leaves_the_others_and_is_named(
    tmp_path: Path, write_tiny: Callable[[Path, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_all(monkeypatch.setattr)
    config = write_tiny(tmp_path, "tiny")

    def failing(run: Any, config: str, spec: Any, update: bool) -> ChainEnd:
        if spec.fold_index == 1:
            return ChainEnd(spec, StepError("the disk is full"))
        return run_chain(run, config, spec, update)

    with monkeypatch.context() as patch:
        patch.setattr(flow, "run_chain", failing)
        with pytest.raises(StepError, match=r"1 of 3 chains .* tiny-fold1: StepError: the disk is full"):
            cross_validate(config)
    artifacts = tmp_path / "artifacts"
    done = num_done(artifacts / "tiny-fold2")
    assert not (artifacts / "tiny-fold1").exists()
    assert cross_validate(config).num_folds == NUM_FOLDS
    assert num_done(artifacts / "tiny-fold2") == done, "a finished chain is reused"


@pytest.mark.parametrize(
    ("num_folds", "run_id", "changes", "message"),
    [
        (1, None, [], "folds must be 2 to 50, got 1"),
        (3, "a/b", [], "run_id must begin with a letter"),
        (3, None, ["data.test_labels=data/test.json"], "data.test_labels=null"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    tmp_path: Path, write_tiny: Callable[[Path, str], Path], num_folds: int, run_id: str | None, changes: list[str],
    message: str,
) -> None:  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        chain_specs(str(write_tiny(tmp_path, "tiny")), num_folds, run_id, changes)


def test_winners_that_are_ensembles_vote_with_one_share_a_fold(
    tmp_path: Path, write_tiny: Any, monkeypatch: Any
) -> None:
    asked: list[Any] = []

    def note(spec: Any, what: Any) -> dict[str, Any]:
        asked.append(fold_ensemble.teachers(spec))
        return ensemble_predict(spec, what)

    replace_all(monkeypatch.setattr)
    monkeypatch.setattr(fold_ensemble, "predict", note)
    changes = [*SMALL, "loop.rounds=0", "ensemble.members=[{head_channels: 8}]", "ensemble.weights=equal"]
    summary = cross_validate(write_tiny(tmp_path, "tiny"), changes)
    folds = len(summary.members)
    assert [files.weight for files in asked[0]] == [0.5] * 2 * folds
    for fold in summary.members:
        placed = Path(summary.outputs) / "members" / f"fold_{fold}" / "ensemble"
        assert {path.name for path in placed.iterdir()} == {
            "classes.json", "ensemble.json", "lineage.json", "member_0", "member_1"
        }  # fmt: skip
    parent = Path(summary.outputs).parent
    assert find_garbage(parent) == ()
    assert verify_run(parent).whole
