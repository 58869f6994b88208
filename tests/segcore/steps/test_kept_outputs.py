import os
import shutil
from pathlib import Path

import pytest

from segcore.steps.kept_outputs import keep_or_make
from segcore.store.hash_memo import memo_of

MADE_FROM = {"maps": "abc", "palette": [[0, 0, 0]]}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "run" / "outputs").mkdir(parents=True)
    return tmp_path / "run"


def folder_made(run_dir: Path, made_from=MADE_FROM) -> bool:
    """Whether outputs/pngs was made, by a process that has just started."""
    memo_of.cache_clear()
    target = run_dir / "outputs" / "pngs"

    def make() -> None:
        shutil.rmtree(target, ignore_errors=True)
        (target / "sub").mkdir(parents=True)
        for name in ("a.png", "sub/b.png"):
            (target / name).write_text(f"picture {name}")

    return keep_or_make(run_dir, target, made_from, make)


def file_made(run_dir: Path, made_from=MADE_FROM) -> bool:
    """Whether outputs/list.csv was made, by a process that has just started."""
    memo_of.cache_clear()
    target = run_dir / "outputs" / "list.csv"
    return keep_or_make(run_dir, target, made_from, lambda: target.write_text("rows"))


@pytest.mark.parametrize("made", [folder_made, file_made])
def test_what_nobody_touched_is_made_once(run_dir: Path, made):
    assert [made(run_dir) for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("made", [folder_made, file_made])
def test_it_is_made_again_from_something_else_and_from_what_it_was_made_from_before(run_dir: Path, made):
    other = {**MADE_FROM, "maps": "abd"}
    assert [made(run_dir, inputs) for inputs in (MADE_FROM, other, other, MADE_FROM)] == [True, True, False, True]


def remove(folder: Path) -> None:
    (folder / "sub" / "b.png").unlink()


def remove_all(folder: Path) -> None:
    shutil.rmtree(folder)


def add(folder: Path) -> None:
    (folder / "c.png").write_text("")


def rename(folder: Path) -> None:
    (folder / "a.png").rename(folder / "z.png")


def overwrite(folder: Path) -> None:
    status = (folder / "a.png").stat()
    (folder / "a.png").write_text("PICTURE a.png")
    os.utime(folder / "a.png", ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def link(folder: Path) -> None:
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to("sub/b.png")


@pytest.mark.parametrize("happens", [remove, remove_all, add, rename, overwrite, link])
def test_it_is_made_again_when_a_file_in_it_is_not_as_it_was(run_dir: Path, happens):
    folder = run_dir / "outputs" / "pngs"
    folder_made(run_dir)
    happens(folder)
    assert [folder_made(run_dir) for _ in range(2)] == [True, False]
    assert sorted(path.name for path in folder.rglob("*.png")) == ["a.png", "b.png"]
    assert (folder / "a.png").read_text() == "picture a.png"


def test_it_is_made_again_without_the_memo(run_dir: Path):
    folder_made(run_dir)
    (run_dir / "hash_memo.txt").unlink()
    assert folder_made(run_dir)


def test_a_run_that_was_moved_keeps_it_and_a_copied_one_makes_it_again(run_dir: Path, tmp_path: Path):
    folder_made(run_dir)
    moved = run_dir.rename(tmp_path / "moved")
    assert not folder_made(moved)
    shutil.copytree(moved, tmp_path / "copy")
    assert folder_made(tmp_path / "copy")


def test_what_could_not_be_made_is_tried_again(run_dir: Path):
    target = run_dir / "outputs" / "list.csv"

    def fail() -> None:
        target.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        keep_or_make(run_dir, target, MADE_FROM, fail)
    assert file_made(run_dir)
