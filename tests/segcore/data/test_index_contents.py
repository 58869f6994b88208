import os
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segcore.data import index_contents
from segcore.data.index_contents import Content, contents_of
from segcore.data.sources import SourceImage
from segcore.store import hash_memo
from segcore.store.canonical import file_sha256
from segcore.store.hash_memo import HashMemo

NAMES = ("a.png", "b.png", "sub/a.png", "sub/deep/c.png")


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def listed(root: Path, names=NAMES) -> list[SourceImage]:
    return [SourceImage("train", name, root, None) for name in names]


def by_reading(root: Path, names=NAMES) -> list[Content | None]:
    """The slow reference: every file read."""
    paths = [root / name for name in names]
    return [Content(path.stat().st_size, file_sha256(path)) if path.is_file() else None for path in paths]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        write(tmp_path / "images", name, f"content of {name}")
    return tmp_path / "images"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The files that were really read, and none of them counted as just changed."""
    seen: list[str] = []
    monkeypatch.setattr(hash_memo, "file_sha256", lambda path: (seen.append(path.name), file_sha256(path))[1])
    monkeypatch.setattr(hash_memo, "RACY_NS", -(10**18))
    return seen


def change(root: Path) -> None:
    write(root, "b.png", "something else of another size")


def change_in_place(root: Path) -> None:
    with (root / "b.png").open("r+") as file:
        file.write("C")


def change_and_set_back(root: Path) -> None:
    status = (root / "b.png").stat()
    change_in_place(root)
    os.utime(root / "b.png", ns=(status.st_atime_ns, status.st_mtime_ns))


def replace(root: Path) -> None:
    status = (root / "b.png").stat()
    new = write(root, "new", "Content of b.png")
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(root / "b.png")


def swap(root: Path) -> None:
    (root / "a.png").rename(root / "t")
    (root / "b.png").rename(root / "a.png")
    (root / "t").rename(root / "b.png")


def remove(root: Path) -> None:
    (root / "b.png").unlink()


def make_a_folder(root: Path) -> None:
    (root / "b.png").unlink()
    (root / "b.png").mkdir()


def make_a_link(root: Path) -> None:
    (root / "b.png").unlink()
    (root / "b.png").symlink_to("a.png")


@pytest.mark.parametrize("happens", [change, change_in_place, change_and_set_back, replace, swap, remove])
def test_what_changed_is_noticed_by_a_new_start(root, run_dir, reads, happens):
    before = contents_of(listed(root), HashMemo(run_dir))
    assert before == by_reading(root)
    happens(root)
    after = contents_of(listed(root), HashMemo(run_dir))
    assert after == by_reading(root) != before


@pytest.mark.parametrize("happens", [make_a_folder, make_a_link])
def test_what_is_no_plain_file_any_more_is_noticed(root, run_dir, reads, happens):
    contents_of(listed(root), HashMemo(run_dir))
    happens(root)
    assert contents_of(listed(root), HashMemo(run_dir)) == by_reading(root)


def test_unchanged_files_are_read_once_and_only_new_ones_after_that(root, run_dir, reads):
    contents_of(listed(root), HashMemo(run_dir))
    assert sorted(reads) == sorted(Path(name).name for name in NAMES)
    reads.clear()
    write(root, "sub/new.png", "new")
    names = (*NAMES, "sub/new.png")
    assert contents_of(listed(root, names), HashMemo(run_dir)) == by_reading(root, names)
    assert reads == ["new.png"]


def test_a_touched_file_is_read_again_and_has_its_old_content(root, run_dir, reads):
    before = contents_of(listed(root), HashMemo(run_dir))
    reads.clear()
    (root / "a.png").touch()
    assert contents_of(listed(root), HashMemo(run_dir)) == before
    assert reads == ["a.png"]


def test_a_file_changed_a_moment_ago_is_read_at_every_start(root, run_dir, monkeypatch):
    soon = time.time_ns()
    monkeypatch.setattr(hash_memo.time, "time_ns", lambda: soon)
    contents_of(listed(root), HashMemo(run_dir))
    assert HashMemo(run_dir).known == {}


def test_a_deleted_memo_costs_a_reading(root, run_dir, reads):
    before = contents_of(listed(root), HashMemo(run_dir))
    (run_dir / "hash_memo.txt").unlink()
    assert contents_of(listed(root), HashMemo(run_dir)) == before
    assert len(reads) == 2 * len(NAMES)


def test_a_linked_folder_that_leads_out_is_not_read_though_its_files_are_known(root, run_dir, reads, tmp_path):
    contents_of(listed(root), HashMemo(run_dir))
    shutil.move(root / "sub", tmp_path / "outside")
    (root / "sub").symlink_to(tmp_path / "outside")
    assert [content is None for content in contents_of(listed(root), HashMemo(run_dir))] == [False, False, True, True]


def test_a_linked_image_folder_is_followed(root, run_dir, reads, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert contents_of(listed(tmp_path / "link"), HashMemo(run_dir)) == by_reading(root)


@given(names=st.permutations([f"{number % 3}/{number:02d}.png" for number in range(12)]))
def test_contents_come_in_the_order_of_the_images_however_folders_are_divided(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("order")
    for name in names:
        write(folder, name, name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_contents, "CHUNK_IMAGES", 3)
        assert contents_of(listed(folder, names), HashMemo(folder)) == by_reading(folder, names)
