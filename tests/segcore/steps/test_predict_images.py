"""Chunks go to every device at once and come back in order; real processes, on a CPU by two names."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from segcore.config.label_schema import LabelConfig
from segcore.errors import StepError
from segcore.process import labeller
from segcore.process.jobs import PredictImage
from segcore.process.supervisor import descendants
from segcore.steps import predict_images
from segcore.steps.model_files import ModelFiles
from segcore.steps.predict_images import PredictRun, Progress, predict_chunks

DEVICES = ("cpu:0", "cpu:1")

# "meet" waits until a process on the other device has come to an image of that name; "slow" is overtaken
PREDICTOR = """
import json, sys, time
from pathlib import Path
job, notes = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[1]).parent
print(json.dumps({"event": "ready", "device": job["device"], "precision": "fp32", "num_classes": 5}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    name = request["images"][0]["image_id"]
    if name.startswith("meet"):
        (notes / f"met_{job['device']}").touch()
        while len(list(notes.glob("met_*"))) < 2:
            time.sleep(0.01)
    if name == "slow":
        time.sleep(0.5)
    aside = [{"image_id": name, "reason": "damaged"}] if name == "bad" else []
    Path(request["out"]).write_text(json.dumps([name]))
    done = {"event": "done", "quarantined": aside}
    print(json.dumps({"event": "failed", "message": "no such class"} if name == "fatal" else done), flush=True)
"""


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be two devices and chunks of one image; the stub is what labellers start."""
    monkeypatch.setattr(predict_images, "CHUNK", 1)
    monkeypatch.setattr(predict_images, "labelling_devices", lambda device: DEVICES)
    monkeypatch.setattr(labeller, "predict_command", lambda job: (sys.executable, "-c", PREDICTOR, str(job)))


def run_of(folder: Path, *names: str) -> PredictRun:
    model = ModelFiles(folder / "model.pth", folder / "model_config.py", None, None, None)
    images = [PredictImage(name, f"/images/{name}") for name in names]
    return PredictRun(model, images, 5, LabelConfig(sizes=(64,), flip=False), "auto", 1.0, folder)


def num_predictors(folder: Path) -> int:
    """Return how many processes below this one have a folder on their command line."""
    lines = [Path(f"/proc/{pid}/cmdline") for pid in descendants(os.getpid())]
    return sum(str(folder).encode() in line.read_bytes() for line in lines if line.exists())


@pytest.mark.usefixtures("two_devices")
def test_chunks_are_predicted_side_by_side_and_given_on_in_order(tmp_path: Path) -> None:
    names, progress = ("meet one", "meet two", "slow", "bad", "d", "e"), Progress()
    found = [json.loads(path.read_text()) for path in predict_chunks(run_of(tmp_path, *names), progress)]
    assert found == [[name] for name in names]
    assert progress.num_images == 5
    assert [item.image_id for item in progress.quarantined] == ["bad"]
    assert num_predictors(tmp_path) == 0


@pytest.mark.usefixtures("two_devices")
def test_few_files_wait_for_who_is_slow_to_read_them(tmp_path: Path) -> None:
    waiting = []
    for path in predict_chunks(run_of(tmp_path, *"abcdefgh"), Progress()):
        waiting.append(len(list(tmp_path.glob("predictions_*"))))
        path.unlink()
    assert len(waiting) == 8
    assert max(waiting) <= len(DEVICES) + 1


@pytest.mark.usefixtures("two_devices")
def test_who_stops_reading_ends_the_processes(tmp_path: Path) -> None:
    for _ in predict_chunks(run_of(tmp_path, *"abcdef"), Progress()):
        assert num_predictors(tmp_path) > 0
        break
    assert num_predictors(tmp_path) == 0


@pytest.mark.usefixtures("two_devices")
def test_a_failure_on_one_device_ends_them_all(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no such class"):
        list(predict_chunks(run_of(tmp_path, "a", "fatal", "slow", "slow"), Progress()))
    assert num_predictors(tmp_path) == 0
