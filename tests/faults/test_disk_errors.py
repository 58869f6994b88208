"""Rows 15 and 16: a disk that is really full, and files and folders that really may not be touched.

EIO and a full disk at every single call of publishing are in tests/segcore/store/test_publish_faults.py; no disk that
answers EIO can be had without hardware, so there it is the call that is made to fail.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from segcore.errors import SegloopError
from segcore.store.verify import verify_run

from .conftest import ENVIRONMENT, HERE
from .stub_loop import SMALL, walk
from .test_damaged_files import digests

NOBODY = 65534
IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def may_mount(folder: Path) -> bool:
    """Return whether this user may mount a file system in a namespace of its own."""
    command = (*IN_A_NAMESPACE, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


def test_a_full_disk_at_any_step_is_one_clear_error_and_the_run_goes_on_once_there_is_room(
    few_images: Path, tmp_path: Path
) -> None:
    if not may_mount(tmp_path):
        pytest.skip("no file system may be mounted here, so no disk can be filled")
    program = (sys.executable, str(HERE / "full_disk.py"), str(tmp_path), str(few_images))
    done = subprocess.run((*IN_A_NAMESPACE, *program), env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    attempts = json.loads(done.stdout)["attempts"]
    errors = [item["error"] for item in attempts]
    for words in ("run.json", "index", "student", "shard_", "pseudo_labels", "outputs"):  # the others are small
        assert any(words in error for error in errors), f"the disk was never full at {words}"
    assert all("No space left on device" in error for error in errors if error)
    assert all(item["whole"] and item["same"] for item in attempts)
    assert any(item["checkpoint"] for item in attempts), "the disk was never full after a checkpoint was written"


def as_ordinary_user(action: Callable[[], object]) -> str:
    """Run action in a process that permissions bind, root being nobody there; return its error as text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            if os.getuid() == 0:
                os.setuid(NOBODY)
            action()
            answer = ""
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}" if isinstance(error, SegloopError) else f"unexpected {error!r}"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(pid, 0)
    return text


@pytest.fixture
def owned_copy(finished: Path, finished_copy: str) -> Iterator[Path]:
    """Return the folder of a copied run that an ordinary user may write to."""
    run_dir = finished / "artifacts" / finished_copy
    if os.getuid() == 0:
        finished.chmod(0o755)
        for path in (run_dir, *run_dir.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
    yield run_dir
    for path in (run_dir, *run_dir.rglob("*")):
        path.chmod(0o755)


def only(run_dir: Path, pattern: str) -> Path:
    (found,) = run_dir.glob(pattern)
    return found


@pytest.mark.parametrize(
    ("locked", "lost", "words"),
    [
        (lambda run: run / "LOCK", None, r"RunError: .*LOCK must be writable.*Permission denied"),
        (lambda run: run / "round_01", "round_01/student.????????",
         r"StepError: round_01/student: could not be written .*Permission denied.*mend permissions"),
        (lambda run: only(run, "round_00/student.????????/model.pth"), None,
         r"RunError: .*round_00/student\.\w+ cannot be read .*Permission denied.*check the disk and permissions"),
        (lambda run: only(run, "index.????????/manifest.json"), None,
         r"RunError: .*manifest\.json cannot be read .*Permission denied"),
        (lambda run: run / "outputs", None, r"StepError: outputs: could not be written .*Permission denied"),
    ],
    ids=["lock", "folder of a round", "published file", "manifest", "outputs"],
)  # fmt: skip
def test_what_may_not_be_touched_is_one_clear_error_and_nothing_is_published_or_set_aside(
    finished: Path, owned_copy: Path, locked: Callable[[Path], Path], lost: str | None, words: str
) -> None:
    run_dir, expected = owned_copy, digests(owned_copy)

    def go_on() -> None:
        walk(finished / "tiny.yaml", SMALL, run_id=owned_copy.name)

    if lost is not None:
        shutil.rmtree(only(run_dir, lost))
    before, place = digests(run_dir), locked(run_dir)
    place.chmod(0o000 if place.is_file() else 0o555)
    error = as_ordinary_user(go_on)
    place.chmod(0o755)
    assert re.search(words, error), error
    assert digests(run_dir) == before
    assert not (run_dir / "quarantine").exists()
    assert as_ordinary_user(go_on) == ""
    assert digests(run_dir) == expected
    assert verify_run(run_dir).whole
