"""How long a second start of a finished run takes to find everything reused, and which step takes how much of it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click

from benchmarks.environment import describe
from benchmarks.orchestration import quiet, walk_plainly
from benchmarks.page import ROOT, write_page
from benchmarks.reuse_build import Size, instant_programs, write_data
from benchmarks.reuse_page import page
from segcore.store.events import read_events
from segcore.store.hash_memo import RACY_NS

STEPS = (
    "index.index_images", "label.label_specs", "label.label_shard", "pseudo_labels.calibrate",
    "pseudo_labels.filter_labels", "train.train", "evaluate.evaluate", "decide.decide", "decide.goes_on",
    "outputs.publish_outputs",
)  # fmt: skip


@click.command()
@click.option("--images", type=click.IntRange(min=100), default=100_000, show_default=True)
@click.option("--starts", type=click.IntRange(min=2), default=4, show_default=True, help="By plain calls.")
@click.option("--by-prefect/--no-by-prefect", default=True, show_default=True, help="Also start by `segloop run`.")
def reuse(images: int, starts: int, by_prefect: bool) -> None:
    """Build a finished run of many very small images, then start it again and again."""
    with tempfile.TemporaryDirectory(prefix="reuse-") as folder:
        started = time.monotonic()
        config = write_data(Path(folder), Size.of(images))
        with instant_programs(), quiet():
            walk_plainly(config, [])
        build_s = time.monotonic() - started
        time.sleep(RACY_NS / 1e9)  # so that the first start may remember what was written last
        result = {
            "environment": describe(),
            "load_before": os.getloadavg()[0],
            "num_images": images,
            "build_s": build_s,
            "starts": [start_again(config) for _ in range(starts)],
            "contents_forgotten": forgotten_start(config),
            "segloop_run_s": segloop_run(config) if by_prefect else None,
            "load_after": os.getloadavg()[0],
        }
    write_page("reuse", result, page)


def start_again(config: Path) -> dict[str, Any]:
    """Walk a finished run in a new process; return its seconds: "total", "walk", "cpu" of the walk, and "steps".

    RuntimeError when something was made again.
    """
    run_dir = config.parent / "artifacts" / config.stem
    num_before = num_made(run_dir)
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        seconds = pool.apply(walk_timed, (str(config),))
        total = time.monotonic() - started
    if num_made(run_dir) != num_before:
        raise RuntimeError(f"{run_dir}: a start of a finished run must make nothing, see its events.jsonl")
    return {"total": total, **seconds}


def num_made(run_dir: Path) -> int:
    """Return how many steps of a run were begun so far."""
    return sum(event["event"] == "step_started" for event in read_events(run_dir))


def walk_timed(config: str) -> dict[str, Any]:
    """Walk the loop in this process; return its seconds: "walk", "cpu", and "steps" by function."""
    steps: dict[str, float] = defaultdict(float)
    with ExitStack() as stack, quiet():
        for step in STEPS:
            module_name, name = step.split(".")
            module = import_module(f"segcore.steps.{module_name}")
            stack.enter_context(patch.object(module, name, timed(getattr(module, name), name, steps)))
        started, cpu_before = time.monotonic(), time.process_time()
        walk_plainly(Path(config), [])
        return {"walk": time.monotonic() - started, "cpu": time.process_time() - cpu_before, "steps": dict(steps)}


def timed(function: Callable[..., Any], name: str, seconds: dict[str, float]) -> Callable[..., Any]:
    """Return function with its time added to seconds[name]."""

    def call(*arguments: Any) -> Any:
        started = time.monotonic()
        try:
            return function(*arguments)
        finally:
            seconds[name] += time.monotonic() - started

    return call


def forgotten_start(config: Path) -> dict[str, Any]:
    """Start again after the contents of all files were dropped from memory; names and times stay in it."""
    os.sync()
    for parent, _, names in os.walk(config.parent):
        for name in names:
            descriptor = os.open(Path(parent, name), os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
    return start_again(config)


def segloop_run(config: Path) -> float:
    """Start the run as its users do; return the seconds until the command ends."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "PREFECT_HOME": home}
        command = [sys.executable, "-m", "flows.cli", "run", str(config)]
        subprocess.run(command, cwd=ROOT, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.monotonic() - started
