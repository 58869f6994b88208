"""What gc may remove, on runs whose every step is real but training and prediction."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from segcore.errors import DataError
from segcore.steps import garbage
from segcore.steps.garbage import Garbage, find_garbage, remove_garbage
from segcore.store import publish
from segcore.store.events import read_events
from segcore.store.verify import step_folders, verify_run

from .conftest import walk


class Killed(BaseException):
    """Ends a run where nothing can be caught."""


def collect(folder: Path) -> list[str]:
    """Remove what can go; return the names of what went."""
    found = find_garbage(folder)
    for item in found:
        remove_garbage(folder, item)
    assert find_garbage(folder) == ()
    return [item.path.relative_to(folder).as_posix() for item in found]


def places(names: list[str]) -> set[str]:
    return {name.rpartition(".")[0].partition("/shard")[0] for name in names}


def finish(config: Path, artifacts: Path) -> tuple[Counter[str], Counter[str]]:
    """Run to the end; return how often each place was reused and made in this session."""
    folder = walk(config, [f"runtime.artifacts={artifacts}"])
    events = list(read_events(folder))
    session = events[max(number for number, event in enumerate(events) if event["event"] == "opened") :]
    return tuple(  # type: ignore[return-value]
        Counter(event["place"] for event in session if event["event"] == name) for name in ("step_reused", "step_done")
    )


def killed_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the run die while it makes its number-th step, leaving what a SIGKILL leaves."""
    left = iter(range(number))
    original = publish.publish

    def dying(run_dir, step, build):
        if next(left, None) is not None:
            return original(run_dir, step, build)
        for suffix in ("work", "resume"):
            folder = run_dir / f"{step.folder}.{suffix}"
            folder.mkdir(parents=True)
            (folder / "half").write_text("half")
        raise Killed

    monkeypatch.setattr(publish, "publish", dying)


def test_a_finished_run_holds_nothing_to_remove(finished):
    assert find_garbage(finished / "artifacts" / "tiny") == ()


@pytest.mark.parametrize("number", [0, 1, 2, 4, 7, 10, 13])
def test_a_killed_run_goes_on_after_gc_exactly_as_without_it(tmp_path, tiny_loop, monkeypatch, number):
    with pytest.MonkeyPatch.context() as patch:
        killed_at(patch, number)
        with pytest.raises(Killed):
            tiny_loop()
    folder = tmp_path / "artifacts" / "tiny"
    resumes = sorted(folder.rglob("*.resume"))
    shutil.copytree(tmp_path / "artifacts", tmp_path / "untouched")
    assert [name.rpartition(".")[2] for name in collect(folder)] == ["work"]
    assert sorted(folder.rglob("*.resume")) == resumes
    config = tmp_path / "tiny.yaml"
    assert finish(config, tmp_path / "artifacts") == finish(config, tmp_path / "untouched")


LATER = {"round_01/pseudo_labels", "round_01/student"}  # the stub learns the same from the same images
FIRST = {"round_00/student", "round_01/labels"}


@pytest.mark.parametrize(
    ("override", "gone", "kept"),
    [
        ("filter.share=0.5", LATER, FIRST | {"index", "round_00/evaluation"}),
        ("train.round_iterations=9", {"round_01/student", "round_01/evaluation"}, FIRST | {"round_01/pseudo_labels"}),
        ("roles.seed=5", {"index", "round_00/evaluation", "round_01/labels"}, {"round_00/student", "round_01/student"}),
    ],
)
def test_after_an_update_what_was_redone_is_removed_and_the_rest_reused(tmp_path, tiny_loop, override, gone, kept):
    folder = tiny_loop()
    before = set(step_folders(folder))
    tiny_loop((override,), update=True)
    removed = collect(folder)
    assert gone <= places(removed)
    assert not kept & places(removed)
    assert {folder / name for name in removed} <= before
    assert verify_run(folder).whole
    tiny_loop((override,))
    assert finished_without_work(folder)


def finished_without_work(folder: Path) -> bool:
    """Return whether the last session made nothing."""
    events = [event["event"] for event in read_events(folder)]
    return "step_done" not in events[max(n for n, name in enumerate(events) if name == "opened") :]


def test_an_update_that_was_killed_keeps_what_the_old_rounds_and_outputs_refer_to(tmp_path, tiny_loop):
    folder = tiny_loop()
    before = set(step_folders(folder))
    with pytest.MonkeyPatch.context() as patch:
        killed_at(patch, 0)
        with pytest.raises(Killed):
            tiny_loop(("train.lr=0.5",), update=True)
    assert [name.rpartition(".")[2] for name in collect(folder)] == ["work"]
    assert set(step_folders(folder)) == before
    tiny_loop(update=True)
    assert finished_without_work(folder), "the old config no longer finds its results"


def test_what_lies_behind_a_lost_shard_stays_because_equal_content_brings_it_back(tmp_path, tiny_loop):
    folder = tiny_loop()
    shard = sorted((folder / "round_01" / "labels").iterdir())[0]
    shutil.rmtree(shard)
    (folder / "round_01" / "round.json").unlink()
    assert collect(folder) == []
    tiny_loop()
    done = [event["place"] for event in read_events(folder) if event["event"] == "step_done"]
    assert [place for place, times in Counter(done).items() if times > 1] == [
        shard.relative_to(folder).as_posix().rpartition(".")[0]
    ]


def test_changed_data_are_no_reason_to_remove_the_index_of_the_old_ones(tmp_path, tiny_loop):
    folder = tiny_loop()
    image = tmp_path / "data" / "unlabeled" / "000.png"
    old = image.read_bytes()
    image.write_bytes((tmp_path / "data" / "test" / "000.png").read_bytes())
    assert collect(folder) == []
    image.unlink()
    (tmp_path / "data" / "unlabeled.json").rename(tmp_path / "away.json")
    with pytest.raises(DataError):
        find_garbage(folder)
    (tmp_path / "away.json").rename(tmp_path / "data" / "unlabeled.json")
    image.write_bytes(old)
    tiny_loop()
    assert finished_without_work(folder)


def reason_above(path: Path, found: dict[Path, Garbage]) -> str:
    """Return why a file goes: by itself or with a folder it lies in."""
    return next(found[item].reason for item in (path, *path.parents) if item in found)


def test_leftovers_are_removed_with_their_reasons_and_what_is_not_ours_stays(tmp_path, tiny_loop):
    folder = tiny_loop()
    (student,) = (folder / "round_01").glob("student.*")
    (folder / "outputs" / ".index_png.new").mkdir(parents=True)
    junk = {
        "outputs/.submission.csv.new": "left by an interrupted attempt",
        "outputs/.index_png.new/a.png": "left by an interrupted attempt",
        ".run.json.123.tmp": "left by an interrupted attempt",
        "round_01/labels/shard_0000.00000000.work/part": "left by an interrupted attempt",
        f"round_01/{student.name}.resume/iteration_00000002.pth": "its step is done",
        "round_01/student.00000000.resume/iteration_00000002.pth": "made from other inputs than the run has now",
        "round_05/student.00000000.resume/iteration_00000002.pth": "the run as configured makes no such step",
        "final/labels/shard_0900.00000000/predictions.parquet": "the run as configured makes no such step",
        "quarantine/round_00_student.1/reason.json": "set aside: too short",
    }
    for name in junk:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps({"reason": "too short\nby far"}))
    others = ["notes.txt", "backup/student.00000000/a", "round_01/.hidden", "outputs/mine.00000000/a", "logs/.a.new"]
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    found = {item.path: item for item in find_garbage(folder)}
    assert {name: reason_above(folder / name, found) for name in junk} == junk
    assert len(found) == len(junk)
    assert {item.num_bytes for item in found.values()} == {len(json.dumps({"reason": "too short\nby far"}))}
    collect(folder)
    assert all((folder / name).exists() for name in others)
    assert not (folder / "round_05").exists()
    tiny_loop()
    assert finished_without_work(folder)


def test_a_file_with_another_name_in_outputs_frees_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.pth").write_bytes(b"x" * 1000)
    (tmp_path / "a" / "manifest.json").write_bytes(b"x" * 10)
    assert garbage.size_of(tmp_path / "a") == 1010
    (tmp_path / "model.pth").hardlink_to(tmp_path / "a" / "model.pth")
    assert garbage.size_of(tmp_path / "a") == 10


def test_a_published_step_whose_removal_was_interrupted_is_never_taken_for_whole(tmp_path, monkeypatch):
    step = tmp_path / "round_00" / "student.00000000"
    step.mkdir(parents=True)

    def interrupted(folder, **_):
        if folder.exists():
            raise Killed

    monkeypatch.setattr(garbage.shutil, "rmtree", interrupted)
    with pytest.raises(Killed):
        remove_garbage(tmp_path, Garbage(step, "", 0))
    assert [path.name for path in (tmp_path / "round_00").iterdir()] == ["student.00000000.work"]
