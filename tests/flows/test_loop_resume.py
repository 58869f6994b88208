"""The whole loop for real, with real trainings: left alone, and killed twice and resumed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from segcore.errors import RunLockedError
from segcore.outputs.submission import validate_submission
from segcore.store.events import read_events
from segcore.store.layout import RunLayout
from segcore.store.verify import verify_run

from .watching import begun, times_done, trained_past

TIMEOUT_S = 240
pytestmark = pytest.mark.timeout(900)


def start(config: Path) -> subprocess.Popen[bytes]:
    """Start `segloop run` with a Prefect home of its own."""
    environment = {**os.environ, "PREFECT_HOME": str(config.parent / "prefect"), "OMP_NUM_THREADS": "1"}
    environment.pop("PREFECT_API_URL", None)
    with (config.parent / f"{config.stem}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", str(config)], stdout=log, stderr=log, env=environment
        )


def run_to_the_end(config: Path) -> Path:
    """Run, waiting for the lock while a killed run's children are ended; return the run folder."""
    end = time.monotonic() + TIMEOUT_S
    while True:
        code = start(config).wait(timeout=TIMEOUT_S)
        if code != RunLockedError.exit_code or time.monotonic() > end:
            assert code == 0, (config.parent / f"{config.stem}.log").read_text()[-3000:]
            return config.parent / "artifacts" / config.stem
        time.sleep(1)


def run_and_kill(config: Path, reached: Callable[[Path], bool], how: signal.Signals) -> None:
    """Run until reached(run folder), then signal the owner alone; it must end soon."""
    process = start(config)
    folder = config.parent / "artifacts" / config.stem
    end = time.monotonic() + TIMEOUT_S
    while not reached(folder):
        assert process.poll() is None, (config.parent / f"{config.stem}.log").read_text()[-3000:]
        assert time.monotonic() < end, "the point to kill at was never reached"
        time.sleep(0.02)
    process.send_signal(how)
    process.wait(timeout=TIMEOUT_S)


def outcome(folder: Path) -> dict[str, Any]:
    """Return everything two equal runs must agree on."""
    rounds = [json.loads(RunLayout(folder).round_file(index).read_text()) for index in (0, 1)]
    final = next(folder.glob("final/pseudo_labels.????????"))
    return {
        "weights": [record["student"]["digest"] for record in rounds],
        "decisions": [record["decision"] for record in rounds],
        "scores": [record["score"] for record in rounds],
        "thresholds": [path.read_text() for path in sorted(folder.glob("*/pseudo_labels.*/thresholds.json"))],
        "label_maps": (final / "label_maps.arrow").read_bytes(),
        "annotations": (folder / "outputs" / "annotations.json").read_text(),
        "submission": (folder / "outputs" / "submission.csv").read_text(),
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, write_tiny: Callable[[Path, str], Path]) -> Path:
    """Return the folder of a run that nobody touched."""
    return run_to_the_end(write_tiny(tmp_path_factory.mktemp("loop with a space"), "undisturbed"))


def test_outputs_are_whole_and_readable_by_others(undisturbed: Path) -> None:
    outputs = undisturbed / "outputs"
    coco = COCO(str(outputs / "annotations.json"))
    assert len(coco.getImgIds()) == 12  # 8 unlabelled + 4 test
    names = [f"test/{index:03d}.png" for index in range(4)]
    validate_submission(outputs / "submission.csv", names, (32, 32), 3)
    assert (outputs / "report.html").stat().st_size > 10_000
    assert len(list((outputs / "index_png").rglob("*.png"))) == 12
    assert verify_run(undisturbed).whole


def test_a_second_start_redoes_nothing(undisturbed: Path) -> None:
    before = outcome(undisturbed)
    run_to_the_end(undisturbed.parent.parent / "undisturbed.yaml")
    assert set(times_done(undisturbed).values()) == {1}
    assert outcome(undisturbed) == before


def test_killed_in_training_and_in_labelling_it_ends_as_if_undisturbed(
    undisturbed: Path, write_tiny: Callable[[Path, str], Path]
) -> None:
    config = write_tiny(undisturbed.parent.parent, "killed")
    run_and_kill(config, lambda folder: trained_past(folder, "round_00/student", 4), signal.SIGKILL)
    folder = undisturbed.parent / "killed"
    assert trained_past(folder, "round_00/student", 4), "checkpoints survive the death of the owner"
    wait_until_free(config, lambda folder: begun(folder, "label"))
    assert run_to_the_end(config) == folder
    assert set(times_done(folder).values()) == {1}, "a step was made twice"
    started = Counter(event["place"] for event in read_events(folder) if event["event"] == "step_started")
    assert started["round_00/student"] == 2
    assert resumed_at(folder) >= 4, "training began again from the start"
    assert outcome(folder) == outcome(undisturbed)


def wait_until_free(config: Path, reached: Callable[[Path], bool]) -> None:
    """Start again as soon as the killed run's children are gone, and kill that run too, where reached."""
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        try:
            run_and_kill(config, reached, signal.SIGTERM)
        except AssertionError as error:
            if "must be free to be written to" not in str(error):
                raise
            time.sleep(1)
        else:
            return
    pytest.fail("the killed run's children were never gone")


def resumed_at(folder: Path) -> int:
    """Return the iteration that the killed training of round 0 went on from."""
    log = "\n".join(path.read_text() for path in (folder / "logs" / "round_00").glob("student.*.log"))
    return max((int(number) for number in re.findall(r"resuming at iteration (\d+)", log)), default=0)
