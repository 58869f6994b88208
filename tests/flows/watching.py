"""Waiting for moments in a run, and counting what was done in it, from its files alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from segcore.store.events import read_events


def wait_until(reached: Callable[[], bool], what: str, timeout_s: float = 240.0) -> None:
    """Wait for a moment; fail when it does not come."""
    end = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.05)


def trained_past(folder: Path, place: str, iteration: int) -> bool:
    """Return whether a training that is not published yet has reported an iteration."""
    lines = [line for path in folder.glob(f"{place}.*.resume/progress.jsonl") for line in path.read_text().splitlines()]
    return any(json.loads(line).get("iteration", 0) >= iteration for line in lines)


def begun(folder: Path, kind: str) -> bool:
    """Return whether a step of a kind has begun."""
    return any(event["event"] == "step_started" and event["kind"] == kind for event in read_events(folder))


def times_done(folder: Path, kind: str | None = None) -> Counter[str]:
    """Return how often each step, of one kind or of any, was done, by its place."""
    done = (event for event in read_events(folder) if event["event"] == "step_done")
    return Counter(str(event["place"]) for event in done if kind in (None, event["kind"]))
