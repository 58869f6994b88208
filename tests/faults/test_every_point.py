"""Row 1: death at every durable point of a three-round loop."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ENVIRONMENT, HERE

PROGRAM = HERE / "every_point.py"


@pytest.mark.timeout(600)
def test_death_at_every_durable_point_and_resume_end_as_if_undisturbed_with_at_most_one_unit_redone(
    few_images: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(few_images)], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["wrong"] == [], done.stderr[-3000:]
    calls = found["calls"]
    assert set(calls) >= {"open", "opened", "write", "half-written", "fsync", "os.rename", "os.mkdir", "os.link"}
    assert sum(calls.values()) > 400, "most of the points of three rounds were not found"
    assert found["num_states"] > 200
