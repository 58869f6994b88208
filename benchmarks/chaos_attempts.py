"""One start of a run, killed at a moment drawn at random, and what is left of it then."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from segcore.store.events import read_events

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STARTUP_S = 8.0  # imports, the flow run, the lock
PATIENCE_S = 90.0  # for all processes of a killed run to be gone: more than any grace time here
EXIT_S = 60.0  # for a process to end after all its work is done
MARK = "SEGLOOP_CHAOS"  # variable by which a run's processes are known


@dataclass(frozen=True)
class Kill:
    """What happened. during: the kind of step it hit. gone_after_s: until no process of the run was left.

    lost_iterations: of the training it hit, done since its newest checkpoint; None when it hit none.
    """

    signal: str
    aim: str
    during: str
    after_s: float
    exit_code: int
    gone_after_s: float
    left: str
    lost_iterations: int | None
    embedded_server: bool


@dataclass(frozen=True)
class Attempt:
    """How a run is started. server: API of a Prefect server; None: it brings its own."""

    folder: Path
    config: Path
    run_id: str
    server: str | None

    @property
    def run_dir(self) -> Path:
        """Return the run folder."""
        return self.folder / "artifacts" / self.run_id

    @property
    def log_path(self) -> Path:
        """Return what the run prints, attempt after attempt."""
        return self.folder / f"{self.run_id}.log"

    def start(self, mark: str = "") -> subprocess.Popen[bytes]:
        """Start `segloop run`, its processes marked."""
        environment = {**os.environ, "PREFECT_HOME": str(self.folder / "prefect"), MARK: mark, "OMP_NUM_THREADS": "2"}
        environment.pop("PREFECT_API_URL", None)
        if self.server is not None:
            environment["PREFECT_API_URL"] = self.server
        command = [sys.executable, "-m", "flows.cli", "run", str(self.config), "--run-id", self.run_id]
        command += ["--set", f"runtime.artifacts={self.folder / 'artifacts'}"]
        with self.log_path.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def to_the_end(self) -> bool:
        """Run undisturbed; return whether the process had to be killed when all was done, because it did not end.

        ClickException with the end of the log when the run fails.
        """
        num_before = num_finished(self.run_dir)
        process = self.start()
        while process.poll() is None and num_finished(self.run_dir) == num_before:
            time.sleep(0.5)
        try:
            code = process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return True
        if code != 0:
            raise click.ClickException(f"{self.run_id} ended with {code}: {self.log_path.read_text()[-2000:]}")
        return False


def num_finished(run_dir: Path) -> int:
    """Return how often a run came to its end."""
    return sum(event["event"] == "finished" for event in read_events(run_dir))


def attempt(start: Attempt, seeds: tuple[int, int], undisturbed: Path) -> Kill | None:
    """Start a run and kill it at a moment drawn from seeds; None when it came to its end before."""
    rng = np.random.default_rng(seeds)
    how = SIGNALS[int(rng.integers(len(SIGNALS)))]
    aim, reached = drawn_aim(rng, start.run_dir, undisturbed)
    mark, num_before = uuid.uuid4().hex, len(list(read_events(start.run_dir)))
    began = time.monotonic()
    process = start.start(mark)
    while not reached():
        if process.poll() is not None:
            if process.returncode != 0:
                raise click.ClickException(f"{start.run_id} failed unkilled: {start.log_path.read_text()[-2000:]}")
            return None
        time.sleep(0.002)
    process.send_signal(how)
    after_s = time.monotonic() - began
    during = hit(list(read_events(start.run_dir))[num_before:])
    code = process.wait()
    if code == 0:  # all was done when the signal came
        return None
    killed = time.monotonic()
    left = wait_until_gone(mark)
    gone_after_s = time.monotonic() - killed
    names = "nothing left" if not left else f"left: {', '.join(left)}"
    lost = lost_iterations(start.run_dir) if during == "train" else None
    return Kill(how.name, aim, during, after_s, code, gone_after_s, names, lost, start.server is None)


def drawn_aim(rng: np.random.Generator, run_dir: Path, undisturbed: Path) -> tuple[str, Callable[[], bool]]:
    """Draw when to kill: in the start-up, at any time, while something is published, or in a step of some kind.

    What is aimed at may not come any more; then it is at some time in the first half, so that the run is not over.
    """
    seconds: dict[str, float] = {}
    total_s = 0.0
    for event in read_events(undisturbed):
        if event["event"] == "step_done":
            total_s += event["seconds"]
            seconds[event["kind"]] = max(seconds.get(event["kind"], 0.0), event["seconds"])
    kinds = ("start-up", "any time", "publishing", *sorted(seconds))
    aim = str(rng.choice(kinds))
    longest_s = STARTUP_S + total_s
    first, last = {"start-up": (0, STARTUP_S), "any time": (0, longest_s)}.get(aim, (STARTUP_S, longest_s / 2))
    end = time.monotonic() + rng.uniform(first, last)
    in_step = StepReached(run_dir, aim, rng.uniform(0, seconds.get(aim, 1)))

    def reached() -> bool:
        publishes = aim == "publishing" and any(True for _ in run_dir.glob("**/*.work/manifest.json"))
        return publishes or in_step() or time.monotonic() >= end

    return aim, reached


class StepReached:
    """Whether a step of a kind has begun since, and delay_s have passed."""

    def __init__(self, run_dir: Path, kind: str, delay_s: float) -> None:
        self.path = run_dir / "events.jsonl"
        self.kind = kind
        self.delay_s = delay_s
        self.position = self.path.stat().st_size if self.path.exists() else 0
        self.end: float | None = None

    def __call__(self) -> bool:
        """Read what is new; return whether it is time."""
        if self.end is None and self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self.position)
                new = file.read()
            self.position += new.rfind(b"\n") + 1
            started = [line for line in new.splitlines() if b'"step_started"' in line]
            if any(f'"kind": "{self.kind}"'.encode() in line for line in started):
                self.end = time.monotonic() + self.delay_s
        return self.end is not None and time.monotonic() >= self.end


def hit(events: Sequence[Mapping[str, Any]]) -> str:
    """Return the kind of the step that is being made, as the events since the start tell, or what it is instead."""
    open_steps: dict[str, str] = {}
    for event in events:
        if event["event"] == "step_started":
            open_steps[event["place"]] = event["kind"]
        elif event["event"] == "step_done":
            open_steps.pop(event["place"], None)
    return next(reversed(open_steps.values()), "between steps, gate or outputs" if events else "start-up")


def wait_until_gone(mark: str) -> list[str]:
    """Wait until no process of an attempt is left; return the commands of those that stay all the same."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if not (left := marked(mark)):
            return []
        time.sleep(0.05)
    return left


def marked(mark: str) -> list[str]:
    """Return the commands of the living processes that carry a mark in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [command for command in found if command]


def lost_iterations(run_dir: Path) -> int:
    """Return how many iterations the newest training had done since its newest checkpoint."""
    folders = sorted(run_dir.glob("**/*.resume"), key=lambda folder: folder.stat().st_mtime_ns)
    if not folders:
        return 0
    progress = folders[-1] / "progress.jsonl"
    lines = progress.read_text().splitlines() if progress.exists() else []
    done = max((whole(line) for line in lines), default=0)
    saved = [
        int(found[1]) for path in folders[-1].iterdir() if (found := re.match(r"iteration_(\d+)\.pth$", path.name))
    ]
    return max(0, done - max(saved, default=0))


def whole(line: str) -> int:
    """Return the iteration of a progress line; 0 for half a line."""
    try:
        return int(json.loads(line)["iteration"])
    except (ValueError, KeyError):
        return 0
