"""Row 22: a run folder that was moved or copied, half done, goes on where it is now."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from segcore.store import publish
from segcore.store.events import read_events
from segcore.store.verify import verify_run

from .stub_loop import SMALL, walk
from .test_damaged_files import digests


class Stopped(BaseException):
    """Ends a run where nothing catches it."""


def stop_after(num_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the run end before it makes a step more than num_steps."""
    left, original = iter(range(num_steps)), publish.publish

    def counted(*arguments):  # type: ignore[no-untyped-def]
        if next(left, None) is None:
            raise Stopped
        return original(*arguments)

    monkeypatch.setattr(publish, "publish", counted)


@pytest.mark.parametrize("take", [shutil.move, shutil.copytree], ids=["moved", "copied"])
@pytest.mark.parametrize("num_steps", [1, 3, 6, 11])
def test_a_run_goes_on_in_another_place_and_makes_only_what_was_left(
    finished: Path, few_images: Path, stub_programs: None, take: Callable[[str, str], object], num_steps: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_after(num_steps, patch)
        with pytest.raises(Stopped):
            walk(few_images, SMALL)
    elsewhere = few_images.parent / "else where"
    take(str(few_images.parent / "artifacts"), str(elsewhere))
    folder = walk(few_images, [*SMALL, f"runtime.artifacts={elsewhere}"])
    events = list(read_events(folder))
    done = [event["place"] for event in events if event["event"] == "step_done"]
    assert len(done) == len(set(done))
    assert digests(folder) == digests(finished / "artifacts" / "tiny")
    assert verify_run(folder).whole
    assert all(str(few_images.parent / "artifacts") not in path.read_text() for path in folder.rglob("manifest.json"))
