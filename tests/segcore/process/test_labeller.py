"""Real child processes in place of the prediction program: they die or hang on chosen images, once or always."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from segcore.config.label_schema import LabelConfig
from segcore.errors import CancelledError, StepError
from segcore.process import labeller
from segcore.process.jobs import PredictImage, PredictJob, TeacherFiles
from segcore.process.labeller import Labeller, LabellerSpec

# sys.argv: job file, folder with files kill_<id>, hang_<id> and open_<id> (dies opening it) with how often they happen
PREDICTOR = """
import json, os, signal, sys, time
from pathlib import Path
job, faults = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])

def say(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)

def due(fault):
    path = faults / fault
    left = int(path.read_text()) if path.exists() else 0
    if left:
        path.write_text(str(left - 1))
    return left

def hang():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)

with (faults / "started").open("a") as file:
    file.write(f"{os.getpid()}\\n")
if due("hang_start"):
    hang()
say("ready", device="cpu", precision="fp32", num_classes=2)
if due("hang_idle"):
    hang()
for line in sys.stdin:
    request = json.loads(line)
    ids = [image["image_id"] for image in request["images"]]
    size = 1 if job["one_by_one"] else 2
    if not job["one_by_one"] and any(due(f"open_{image_id}") for image_id in ids):
        os.kill(os.getpid(), signal.SIGKILL)
    for first in range(0, len(ids), size):
        say("progress", done=first, total=len(ids), working=ids[first : first + size])
        for image_id in ids[first : first + size]:
            if due(f"hang_{image_id}"):
                hang()
            if due(f"kill_{image_id}") or due(f"open_{image_id}"):
                os.kill(os.getpid(), signal.SIGKILL)
    Path(request["out"]).write_text(json.dumps(ids))
    say("done", out=request["out"], num_images=len(ids), quarantined=[], wall_s=0.0)
"""
IMAGES = tuple(PredictImage(name, f"/images/{name}") for name in "abcde")
JOB = PredictJob((TeacherFiles("/m/model.pth", "/m/model_config.py"),), 2, LabelConfig(sizes=(64,), flip=False))


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of faults; the stub is what labellers start."""
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setattr(
        labeller, "predict_command", lambda job: (sys.executable, "-c", PREDICTOR, str(job), str(folder))
    )
    return folder


@pytest.fixture
def make(tmp_path: Path, faults: Path):
    """Return a function that makes a labeller; all are closed at the end."""
    made: list[Labeller] = []

    def one(stall_s: float = 60, max_failures: int = 2, cancelled: Callable[[], bool] = lambda: False) -> Labeller:
        log_path = tmp_path / "logs" / "label.log"
        made.append(Labeller(LabellerSpec(JOB, log_path, (), 0.2, stall_s, max_failures, cancelled)))
        return made[-1]

    yield one
    for item in made:
        item.close()


def num_started(faults: Path) -> int:
    return len((faults / "started").read_text().splitlines())


def test_one_process_answers_request_after_request(tmp_path, faults, make):
    process = make()
    assert process.predict(IMAGES, tmp_path / "one") == process.predict(IMAGES[:2], tmp_path / "two") == []
    assert json.loads((tmp_path / "two").read_text()) == ["a", "b"]
    assert num_started(faults) == 1


@pytest.mark.parametrize("times", [1, 2])
def test_a_death_that_does_not_come_again_costs_no_image(tmp_path, faults, make, times):
    (faults / "kill_c").write_text(str(times))  # the first death is on a group and names nobody
    assert make().predict(IMAGES, tmp_path / "out") == []
    assert json.loads((tmp_path / "out").read_text()) == list("abcde")
    assert num_started(faults) == times + 1


def test_an_image_that_kills_every_time_is_named_and_quarantined_and_the_others_are_kept(tmp_path, faults, make):
    (faults / "kill_c").write_text("100")
    process = make(max_failures=2)
    (aside,) = process.predict(IMAGES, tmp_path / "out")
    assert aside.image_id == "c"
    assert "died 2 times on it" in aside.reason
    assert "label.log" in aside.reason
    assert json.loads((tmp_path / "out").read_text()) == list("abde")
    assert [item.image_id for item in process.predict(IMAGES[2:4], tmp_path / "again")] == ["c"]
    assert num_started(faults) == 5  # one died on the group, two on the image, one answered, one answers in groups


def test_an_image_that_kills_while_it_is_opened_ahead_of_others_costs_none_of_them(tmp_path, faults, make):
    (faults / "open_d").write_text("100")
    (aside,) = make(max_failures=1).predict(IMAGES, tmp_path / "out")
    assert aside.image_id == "d"
    assert json.loads((tmp_path / "out").read_text()) == list("abce")


def test_two_killing_images_are_both_found(tmp_path, faults, make):
    for name in "ae":
        (faults / f"kill_{name}").write_text("100")
    assert [item.image_id for item in make(max_failures=1).predict(IMAGES, tmp_path / "out")] == ["a", "e"]
    assert json.loads((tmp_path / "out").read_text()) == list("bcd")


def test_a_process_that_hangs_on_an_image_is_ended_and_the_image_given_up_like_one_it_died_on(tmp_path, faults, make):
    (faults / "hang_b").write_text("100")
    (aside,) = make(stall_s=1, max_failures=1).predict(IMAGES, tmp_path / "out")
    assert aside.image_id == "b"
    assert json.loads((tmp_path / "out").read_text()) == list("acde")
    started = (faults / "started").read_text().split()
    assert len(started) == 3
    assert [pid for pid in started[:2] if Path("/proc", pid).exists()] == []


def test_a_process_that_hangs_while_it_starts_is_a_step_error_and_the_next_request_starts_another(
    tmp_path, faults, make
):
    (faults / "hang_start").write_text("1")
    process = make(stall_s=2)
    with pytest.raises(StepError, match="no sign of life"):
        process.predict(IMAGES, tmp_path / "out")
    assert process.predict(IMAGES, tmp_path / "out") == []


def test_processes_that_do_not_come_to_reading_a_long_request_are_ended(tmp_path, faults, make):
    (faults / "hang_idle").write_text("100")
    many = tuple(PredictImage(f"{number}", "/images/" + "x" * 200) for number in range(1000))
    with pytest.raises(StepError, match=r"no sign of life.*label\.log"):
        make(stall_s=1).predict(many, tmp_path / "out")
    assert num_started(faults) == 2


def test_cancelling_ends_a_hanging_process(tmp_path, faults, make):
    (faults / "hang_a").write_text("1")
    asked = threading.Event()
    process = make(cancelled=asked.is_set)
    threading.Timer(0.5, asked.set).start()
    with pytest.raises(CancelledError):
        process.predict(IMAGES, tmp_path / "out")
    (pid,) = (faults / "started").read_text().split()
    assert not Path("/proc", pid).exists()


def test_a_process_killed_between_two_requests_is_started_again(tmp_path, faults, make):
    process = make()
    process.predict(IMAGES, tmp_path / "one")
    (pid,) = (faults / "started").read_text().split()
    os.kill(int(pid), 9)
    process.child.started.wait(10)
    assert process.predict(IMAGES, tmp_path / "two") == []
