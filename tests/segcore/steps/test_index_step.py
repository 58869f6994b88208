from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from segcore.errors import RunChangedError
from segcore.steps.index import index_images, index_step
from segcore.steps.run import Run, open_run
from segcore.store import hash_memo
from segcore.store.canonical import file_sha256
from segcore.store.hash_memo import memo_of


@contextmanager
def started(config: Path, update: bool = False) -> Iterator[Run]:
    """A run as a process that has just started sees it."""
    memo_of.cache_clear()
    with open_run(str(config), update=update) as run:
        yield run


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The files hashed, and none of them counted as just changed."""
    seen: list[str] = []
    monkeypatch.setattr(hash_memo, "file_sha256", lambda path: (seen.append(path.suffix), file_sha256(path))[1])
    monkeypatch.setattr(hash_memo, "RACY_NS", -(10**18))
    return seen


def test_a_second_start_reads_no_image_and_has_the_key_of_one_that_reads_all(tmp_path, write_tiny, reads):
    config = write_tiny(tmp_path, "tiny")
    with started(config) as run:
        index_images(run)
    assert reads.count(".png") == 30
    reads.clear()
    with started(config) as run:
        assert index_images(run).output.reused
        key = index_step(run).key
    assert ".png" not in reads
    run.layout.hash_memo.unlink()
    with started(config) as run:
        assert index_step(run).key == key
    assert reads.count(".png") == 30


def test_changed_images_are_refused_without_update_and_at_most_five_named(tmp_path, write_tiny, reads):
    config = write_tiny(tmp_path, "tiny")
    with started(config) as run:
        first = index_images(run)
    for number in range(7):
        with (tmp_path / "data" / "unlabeled" / f"{number:03d}.png").open("ab") as file:
            file.write(b"\0")
    with pytest.raises(RunChangedError, match=r"unlabeled/004\.png and 2 more") as error, started(config) as run:
        index_images(run)
    assert "005.png" not in str(error.value)
    reads.clear()
    with started(config, update=True) as run:
        assert index_images(run).digests != first.digests
    assert reads.count(".png") == 0  # the refused start had read and remembered the seven


def test_an_index_that_was_removed_is_made_again(tmp_path, write_tiny):
    config = write_tiny(tmp_path, "tiny")
    with started(config) as run:
        first = index_images(run)
        (run.path / first.output.path / "manifest.json").unlink()
        again = index_images(run)
    assert (again.output.digest, again.output.reused) == (first.output.digest, False)
