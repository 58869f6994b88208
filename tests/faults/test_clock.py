"""Row 21: a clock that jumps back, more each time somebody looks. Nothing that is decided or reused depends on it."""

from __future__ import annotations

import datetime as datetime_module
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segcore.store import events as events_module
from segcore.store import lock as lock_module
from segcore.store.events import append_event, read_events
from segcore.store.layout import RunLayout
from segcore.store.manifest import read_manifest
from segcore.store.verify import step_folders

from .stub_loop import SMALL, walk

DECIDED = ("teacher", "student", "score", "decision")
BUDGET = (*SMALL, "loop.max_hours=1")


class Clock:
    """The time of day, an hour earlier at every look."""

    def __init__(self) -> None:
        self.looks = 0
        self.true_ns = time.time_ns

    def time_ns(self) -> int:
        self.looks += 1
        return self.true_ns() - self.looks * 3600 * 10**9

    def time(self) -> float:
        return self.time_ns() / 1e9

    def set(self, put: Callable[[Any, str, Any], None]) -> None:
        """Let everything that asks for the time ask this clock."""
        clock = self

        class Datetime(datetime_module.datetime):
            @classmethod
            def now(cls, tz: datetime_module.tzinfo | None = None) -> datetime_module.datetime:
                return datetime_module.datetime.fromtimestamp(clock.time(), tz)

        put(time, "time", self.time)
        put(time, "time_ns", self.time_ns)
        for module in (events_module, lock_module):
            put(module, "datetime", Datetime)


def outcome(folder: Path) -> dict[str, Any]:
    """Return keys and digests of all that was published, and every decision."""
    manifests = [read_manifest(path) for path in step_folders(folder)]
    rounds = sorted(folder.glob("round_*/round.json"))
    return {
        "folders": [path.relative_to(folder).as_posix() for path in step_folders(folder)],
        "digests": [(manifest.key, manifest.digest) for manifest in manifests],
        "rounds": [[json.loads(path.read_text())[name] for name in DECIDED] for path in rounds],
        "reason": [event["reason"] for event in read_events(folder) if event["event"] == "outputs"][-1],
    }


def test_a_clock_that_jumps_back_changes_no_key_no_decision_and_redoes_nothing(
    few_images: Path, stub_programs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = walk(few_images, BUDGET)
    usual = outcome(folder)
    shutil.rmtree(folder)
    clock = Clock()
    clock.set(monkeypatch.setattr)
    walk(few_images, BUDGET)
    events = list(read_events(folder))
    assert clock.looks > 20
    assert [event["time"] for event in events] == sorted((event["time"] for event in events), reverse=True)
    assert outcome(folder) == usual
    walk(few_images, BUDGET)
    assert "step_done" not in [event["event"] for event in list(read_events(folder))[len(events) :]]
    assert outcome(folder) == usual


def test_what_was_trained_later_does_not_end_the_loop_earlier_when_it_is_started_again(
    few_images: Path, stub_programs: None
) -> None:
    folder = walk(few_images, BUDGET)
    before = outcome(folder)
    for place in ("round_02/student", "round_01/control", "final/refit"):
        append_event(folder, "step_done", place=place, kind="train", seconds=7200.0)
    walk(few_images, BUDGET)
    assert outcome(folder) == before
    append_event(folder, "step_done", place="round_00/student", kind="train", seconds=7200.0)
    walk(few_images, BUDGET)
    assert "loop.max_hours" in outcome(folder)["reason"]


def test_files_from_the_future_are_checked_and_reused(
    few_images: Path, stub_programs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = walk(few_images, SMALL)
    before = len(list(read_events(folder)))
    day_ago = time.time_ns() - 86_400 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: day_ago)
    RunLayout(folder).hash_memo.unlink(missing_ok=True)
    walk(few_images, SMALL)
    assert "step_done" not in [event["event"] for event in list(read_events(folder))[before:]]
