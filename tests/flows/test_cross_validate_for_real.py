"""`segloop cross-validate` with real trainings and a real ensemble: one chain stopped, then all to the end."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from segcore.data.label_maps import LabelMaps
from segcore.outputs.submission import validate_submission
from segcore.store.layout import RunLayout
from segcore.store.verify import verify_run

from .watching import times_done, trained_past, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

CHANGES = (
    "loop.rounds=0", "roles.val_share=0.6", "roles.min_gate_images=2", "train.checkpoint_every=1",
    "filter.reliability=checkpoints", "filter.reliable_share=0.5",
)  # fmt: skip


def start(config: Path) -> subprocess.Popen[bytes]:
    """Start the command with a Prefect home of its own."""
    environment = {**os.environ, "PREFECT_HOME": str(config.parent / "prefect"), "OMP_NUM_THREADS": "1"}
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "flows.cli", "cross-validate", str(config), "--folds", "2"]
    with (config.parent / "tiny.log").open("ab") as log:
        return subprocess.Popen(
            [*command, *(part for change in CHANGES for part in ("--set", change))],
            stdout=log, stderr=log, env=environment,
        )  # fmt: skip


def test_a_chain_that_is_cancelled_leaves_the_other_and_goes_on_when_started_again(
    tmp_path: Path, write_tiny: Callable[[Path, str], Path]
) -> None:
    config, artifacts = write_tiny(tmp_path, "tiny"), tmp_path / "artifacts"
    first, second, parent = (artifacts / f"tiny-{name}" for name in ("fold0", "fold1", "cv"))
    process = start(config)
    wait_until(lambda: trained_past(first, "round_00/student", 1), "a training")
    RunLayout(first).cancel_file.touch()
    assert process.wait(timeout=600) == 9
    log = (tmp_path / "tiny.log").read_text()
    assert "1 of 2 chains did not reach their end" in log
    assert "tiny-fold0" in log.rsplit("error:", 1)[1]
    assert (second / "outputs" / "report.html").is_file()
    assert not (parent / "outputs").exists()

    assert start(config).wait(timeout=600) == 0, (tmp_path / "tiny.log").read_text()[-3000:]
    assert set(times_done(second).values()) == {1}, "a finished chain is reused"
    assert set(times_done(first).values()) == {1}
    scores = json.loads((parent / "outputs" / "scores.json").read_text())
    assert scores["score"]["num_images"] == 18
    validate_submission(parent / "outputs" / "submission.csv", [f"test/{i:03d}.png" for i in range(4)], (32, 32), 3)
    with (parent / "outputs" / "suspicious_labels.csv").open() as file:
        assert {row["fold"] for row in csv.DictReader(file)} <= {"0", "1"}
    (maps,) = parent.rglob("label_maps.arrow")
    with closing(LabelMaps(maps)) as labels:
        assert len(labels.ids()) == 6, "the half of the pool on which the chains' earlier checkpoints agree best"
    assert verify_run(parent).whole
