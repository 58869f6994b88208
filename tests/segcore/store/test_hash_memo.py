import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segcore.store import hash_memo
from segcore.store.canonical import file_sha256
from segcore.store.hash_memo import HashMemo, read_steady


@pytest.fixture
def reads(monkeypatch):
    """The files that were really read, and none of them counted as just changed."""
    seen = []
    monkeypatch.setattr(hash_memo, "file_sha256", lambda path: (seen.append(path.name), file_sha256(path))[1])
    monkeypatch.setattr(hash_memo, "RACY_NS", -1)
    return seen


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a").write_text("content")
    return tmp_path / "a"


def test_an_unchanged_file_is_read_once_in_this_process_and_the_next(tmp_path, path, reads):
    expected = file_sha256(path)
    memo = HashMemo(tmp_path)
    assert [memo.sha256(path, expected) for _ in range(3)] == [expected] * 3
    assert HashMemo(tmp_path).sha256(path, expected) == expected
    assert reads == ["a"]


def test_a_change_is_seen_even_with_equal_size_and_mtime(tmp_path, path, reads):
    expected = file_sha256(path)
    memo = HashMemo(tmp_path)
    memo.sha256(path, expected)
    status = path.stat()
    path.write_text("Content")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert memo.sha256(path, expected) != expected


def test_a_copy_is_read_again(tmp_path, path, reads, tmp_path_factory):
    HashMemo(tmp_path).sha256(path, file_sha256(path))
    copy = tmp_path_factory.mktemp("copy") / "run"
    shutil.copytree(tmp_path, copy)
    HashMemo(copy).sha256(copy / "a", file_sha256(path))
    assert reads == ["a", "a"]


def test_a_memo_that_says_something_else_than_expected_is_not_believed(tmp_path, path, reads):
    expected = file_sha256(path)
    HashMemo(tmp_path).sha256(path, expected)
    text = (tmp_path / "hash_memo.txt").read_text()
    (tmp_path / "hash_memo.txt").write_text(text.replace(expected, "0" * 64))
    assert HashMemo(tmp_path).sha256(path, expected) == expected


def test_a_file_changed_a_moment_ago_is_not_remembered(tmp_path, path):
    HashMemo(tmp_path).sha256(path, file_sha256(path))
    assert not (tmp_path / "hash_memo.txt").exists()


@pytest.mark.parametrize("line", [b"{", b"12", b"0" * 64, b"0" * 65 + b" a", b"\x00\x00", b"\xff " * 99, b""])
def test_damaged_lines_cost_a_reading_and_nothing_else(tmp_path, path, reads, line):
    (tmp_path / "hash_memo.txt").write_bytes(line + b"\n")
    assert HashMemo(tmp_path).sha256(path, file_sha256(path)) == file_sha256(path)
    assert reads == ["a"]


@pytest.mark.parametrize("name", ["a b", "a\u2028b", "a\x85b\rc", "\udcff", "ü/😀", "0 1"])
def test_a_file_of_any_name_is_remembered(tmp_path, reads, name):
    path = tmp_path / "folder" / name
    path.parent.mkdir(parents=True)
    path.write_text("content")
    for _ in range(2):
        assert HashMemo(tmp_path).sha256(path, file_sha256(path)) == file_sha256(path)
    assert len(reads) == 1


def test_a_name_of_two_lines_is_read_every_time_and_tells_nothing_of_another(tmp_path, reads):
    path = tmp_path / ("a\n" + "0" * 64 + " 1 2 3 4 b")
    path.write_text("content")
    for _ in range(2):
        assert HashMemo(tmp_path).sha256(path, file_sha256(path)) == file_sha256(path)
    assert len(reads) == 2
    assert HashMemo(tmp_path).known == {}


@given(st.data())
def test_a_memo_cut_off_and_gone_on_with_anywhere_never_tells_a_wrong_hash(data):
    files = [(f"{number}", (number, 5, 5, number), f"{number}" * 64) for number in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        memo, path = HashMemo(Path(folder)), Path(folder) / "hash_memo.txt"
        for file in files:
            memo.remember([file])
            text = path.read_bytes()
            path.write_bytes(text[: data.draw(st.integers(0, len(text)))])
        found = HashMemo(Path(folder))
        assert all(found.known_sha256(name, identity) in (None, sha256) for name, identity, sha256 in files)


def test_a_memo_that_cannot_be_written_is_done_without(tmp_path, path, reads):
    (tmp_path / "hash_memo.txt").mkdir()
    assert HashMemo(tmp_path).sha256(path, "x") == file_sha256(path)


def test_a_file_changed_while_it_was_read_for_long_is_not_remembered(tmp_path, path, monkeypatch):
    """A change within the same tick as the one before leaves all times as they are, however long reading takes."""
    changed_ns = path.stat().st_ctime_ns

    def read_for_long(path):
        monkeypatch.setattr(hash_memo.time, "time_ns", lambda: changed_ns + 10 * hash_memo.RACY_NS)
        return file_sha256(path)

    monkeypatch.setattr(hash_memo.time, "time_ns", lambda: changed_ns + hash_memo.RACY_NS)
    monkeypatch.setattr(hash_memo, "file_sha256", read_for_long)
    assert read_steady(path) == (file_sha256(path), None)


@pytest.mark.parametrize(("age_s", "remembered"), [(-1, False), (1, False), (2, False), (2.1, True), (9, True)])
def test_only_a_file_long_unchanged_is_remembered(path, monkeypatch, age_s, remembered):
    now = path.stat().st_ctime_ns + int(age_s * 1e9)
    monkeypatch.setattr(hash_memo.time, "time_ns", lambda: now)
    assert (read_steady(path)[1] is not None) == remembered


def test_what_one_line_holds_of_two_torn_ones_is_not_believed(tmp_path, path, reads):
    expected = file_sha256(path)
    HashMemo(tmp_path).sha256(path, expected)
    line = (tmp_path / "hash_memo.txt").read_text()
    (tmp_path / "hash_memo.txt").write_text(line[: len(line) // 2] + line)
    assert HashMemo(tmp_path).sha256(path, expected) == expected
    assert reads == ["a", "a"]
