"""The competition CSV of a run that is finished."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from segcore.errors import DataError, RunError
from segcore.outputs.submission import SubmissionSpec, write_submission
from segcore.steps.finished import published_index
from segcore.steps.run import Run
from segcore.steps.submission import (
    MakeSubmissionSpec,
    check_against_list,
    check_against_run,
    make_submission,
    submission_images,
    submitting_model,
)


@pytest.fixture
def test_list(finished_run: Run) -> Path:
    """Return the COCO list of test images."""
    test = finished_run.config.data.test
    assert test is not None
    assert test.annotations is not None
    return test.annotations


@pytest.mark.usefixtures("colour_labeller")
def test_at_another_size_the_test_images_are_labelled_again(finished_run: Run, tmp_path: Path, test_list: Path) -> None:
    out = tmp_path / "sub.csv"
    summary = make_submission(MakeSubmissionSpec(finished_run.folder, str(out), (8, 16)))
    assert (summary.size, summary.num_images, summary.predicted) == ((8, 16), 4, True)
    assert check_against_run(out, finished_run.folder, (8, 16)) == 4
    assert check_against_list(out, test_list, (8, 16), 3) == 4
    assert check_against_list(out, test_list, (8, 16), None) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["sub.csv"]
    with pytest.raises(DataError, match="32 x 32"):
        check_against_run(out, finished_run.folder, None)


@pytest.mark.usefixtures("colour_labeller")
def test_the_refit_labels_the_test_images_where_it_is_asked_for(finished_run: Run, tmp_path: Path) -> None:
    spec = MakeSubmissionSpec(finished_run.folder, str(tmp_path / "s.csv"), refit=True)
    with pytest.raises(RunError, match="final_refit: true"):
        make_submission(spec)
    shutil.copytree(
        finished_run.layout.outputs_dir, finished_run.layout.refit_dir, ignore=shutil.ignore_patterns("refit")
    )
    try:
        assert submitting_model(finished_run, refit=True).checkpoint.parent == finished_run.layout.refit_dir
        assert submitting_model(finished_run, refit=False).checkpoint.parent == finished_run.layout.outputs_dir
        summary = make_submission(spec)
    finally:
        shutil.rmtree(finished_run.layout.refit_dir)
    assert summary.predicted
    assert check_against_run(tmp_path / "s.csv", finished_run.folder, None) == 4


def test_at_its_own_size_the_run_gives_the_csv_it_has(finished_run: Run, tmp_path: Path) -> None:
    own = finished_run.layout.outputs_dir / "submission.csv"
    images = submission_images(finished_run, published_index(finished_run))
    write_submission(SubmissionSpec((), images, (32, 32), 3, fill_class=1), own)
    try:
        summary = make_submission(MakeSubmissionSpec(finished_run.folder, str(tmp_path / "s.csv")))
        assert summary.predicted is False
        assert (tmp_path / "s.csv").read_bytes() == own.read_bytes()
    finally:
        own.unlink()


def test_the_rows_are_the_test_list_in_its_order_and_hold_images_that_were_set_aside(
    finished_run: Run, test_list: Path
) -> None:
    before = test_list.read_text()
    coco = json.loads(before)
    coco["images"].reverse()
    coco["images"].append({"id": 99, "file_name": "test/torn.png"})
    test_list.write_text(json.dumps(coco))
    try:
        images = submission_images(finished_run, published_index(finished_run))
    finally:
        test_list.write_text(before)
    assert [image.file_name for image in images] == [*(f"test/{i:03d}.png" for i in (3, 2, 1, 0)), "test/torn.png"]
    assert [bool(image.sha256) for image in images] == [True] * 4 + [False]


def test_what_is_no_run_or_no_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run folder"):
        make_submission(MakeSubmissionSpec(str(tmp_path), str(tmp_path / "s.csv")))
    (tmp_path / "list.json").write_text('{"images": []}')
    with pytest.raises(DataError, match="found none"):
        check_against_list(tmp_path / "s.csv", tmp_path / "list.json", (2, 2), None)
