"""Shared by the fault tests: a small data set on a quick disk, and processes that can be asked about."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from segcore.process.jobs import TrainJob
from segcore.steps import train

from .stub_loop import SMALL, replace_parts, stub_training, walk

NUM_KEPT = {"train": 4, "val": 6, "unlabeled": 3, "test": 2}
MEMORY_DISK = Path("/dev/shm")
HERE = Path(__file__).parent
STUB_LOOP = (sys.executable, str(HERE / "stub_loop.py"))  # then a config: a process that walks the loop with stubs
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
SOON_S = 30.0  # far more than needed; only a failing test waits this long


@contextlib.contextmanager
def quick_disk(otherwise: Path) -> Iterator[Path]:
    """Give an empty folder in memory where there is one: a thousand fsyncs to a disk take a minute."""
    if not MEMORY_DISK.is_dir():
        yield otherwise
        return
    folder = Path(tempfile.mkdtemp(dir=MEMORY_DISK))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """Return an empty folder on a quick disk."""
    with quick_disk(tmp_path) as folder:
        yield folder


def keep_few(folder: Path) -> None:
    """Shorten the lists of a tiny data set to a few images each."""
    for split, num in NUM_KEPT.items():
        path = folder / "data" / f"{split}.json"
        coco = json.loads(path.read_text())
        ids = {image["id"] for image in coco["images"][:num]}
        coco["images"] = [image for image in coco["images"] if image["id"] in ids]
        coco["annotations"] = [item for item in coco["annotations"] if item["image_id"] in ids]
        path.write_text(json.dumps(coco))


@pytest.fixture
def few_images(quick_folder: Path, write_tiny: Callable[[Path, str], Path]) -> Path:
    """Return the config of a run over 15 images."""
    config = write_tiny(quick_folder, "tiny")
    keep_few(quick_folder)
    return config


@pytest.fixture
def stub_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stubs in place of tasks and child programs."""
    replace_parts(monkeypatch.setattr)


@pytest.fixture
def jobs(stub_programs: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, TrainJob]:
    """Return what each training to come is told, by place."""
    told: dict[str, TrainJob] = {}

    def note(job_path: Path, job: TrainJob, log_path: Path, options: Any) -> None:
        told[options.place] = job
        stub_training(job_path, job, log_path, options)

    monkeypatch.setattr(train, "run_training", note)
    return told


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, write_tiny: Callable[[Path, str], Path]) -> Iterator[Path]:
    """Return a folder with data, tiny.yaml and its finished run of three rounds, artifacts/tiny: to be looked at."""
    with quick_disk(tmp_path_factory.mktemp("finished")) as folder:
        config = write_tiny(folder, "tiny")
        keep_few(folder)
        with pytest.MonkeyPatch.context() as patch:  # for this walk alone: other tests want the real programs
            replace_parts(patch.setattr)
            walk(config, SMALL)
        yield folder


@pytest.fixture
def finished_copy(finished: Path, stub_programs: None) -> Iterator[str]:
    """Return the run_id of a copy of the finished run beside it, to be damaged and gone on with."""
    name = "copy"
    shutil.copytree(finished / "artifacts" / "tiny", finished / "artifacts" / name)
    yield name
    shutil.rmtree(finished / "artifacts" / name)


def until(condition: Callable[[], Any], what: str, timeout_s: float = SOON_S) -> Any:
    """Return what condition returns once that is true; fail when it takes too long."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s:g} s: {what}")
