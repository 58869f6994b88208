"""Several real processes of one job, on devices that are all the CPU under other names."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segcore.config.label_schema import LabelConfig
from segcore.errors import CancelledError
from segcore.process import gpus, labeller, labellers
from segcore.process.jobs import PredictImage, PredictJob, TeacherFiles
from segcore.process.labeller import LabellerSpec
from segcore.process.labellers import Labellers, labelling_devices

# sys.argv: job file, folder where it notes its device and pid; an image named "poison" kills it, "slow" takes 0.4 s,
# "meet" waits until another process has come to an image of that name
PREDICTOR = """
import json, os, signal, sys, time
from pathlib import Path
job, notes = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])

def say(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)

with (notes / "started").open("a") as file:
    file.write(job["device"] + "\\n")
say("ready", device=job["device"], precision="fp32", num_classes=5)
for line in sys.stdin:
    request = json.loads(line)
    ids = [image["image_id"] for image in request["images"]]
    for done, image_id in enumerate(ids):
        say("progress", done=done, total=len(ids), working=[image_id])
        if image_id == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if image_id == "slow":
            time.sleep(0.4)
        if image_id == "meet":
            (notes / f"met_{job['device']}").touch()
            while len(list(notes.glob("met_*"))) < 2:
                time.sleep(0.01)
    Path(request["out"]).write_text(json.dumps([job["device"], ids]))
    say("done", out=request["out"], num_images=len(ids), quarantined=[], wall_s=0.0)
"""
JOB = PredictJob((TeacherFiles("/m/model.pth", "/m/model_config.py"),), 5, LabelConfig(sizes=(64,), flip=False))
DEVICES = ("cpu:0", "cpu:1")


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder where processes leave notes; the stub is what labellers start."""
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setattr(
        labeller, "predict_command", lambda job: (sys.executable, "-c", PREDICTOR, str(job), str(folder))
    )
    return folder


@pytest.fixture
def two() -> Iterator[Labellers]:
    """Return labellers of two devices, ended after the test."""
    made = Labellers(lambda device: DEVICES)
    yield made
    made.close()


def spec_in(tmp_path: Path, cancelled: threading.Event | None = None) -> LabellerSpec:
    stop = (cancelled or threading.Event()).is_set
    return LabellerSpec(JOB, tmp_path / "logs" / "label.log", (), 0.2, 60, 1, stop)


def images(*names: str) -> tuple[PredictImage, ...]:
    return tuple(PredictImage(name, f"/images/{name}") for name in names)


def test_two_devices_work_at_the_same_time_and_each_process_is_started_once(
    tmp_path: Path, notes: Path, two: Labellers
) -> None:
    crew = two.get(spec_in(tmp_path))
    shards = [images("meet"), images("meet"), *[images("slow", f"{index}") for index in range(6)]]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda item: crew.predict(item[1], tmp_path / f"{item[0]}"), enumerate(shards)))
    assert found == [[]] * 8
    written = [json.loads((tmp_path / f"{index}").read_text()) for index in range(8)]
    assert [ids for _, ids in written] == [[image.image_id for image in shard] for shard in shards]
    assert {device for device, _ in written} == set(DEVICES)
    assert sorted((notes / "started").read_text().split()) == list(DEVICES)
    assert len(list((tmp_path / "logs").glob("*.log"))) == 2


def test_one_request_after_the_other_loads_one_model(tmp_path: Path, notes: Path, two: Labellers) -> None:
    crew = two.get(spec_in(tmp_path))
    for index in range(3):
        crew.predict(images("a"), tmp_path / f"{index}")
    assert (notes / "started").read_text().split() == ["cpu:0"]
    assert crew.ready is not None
    assert crew.ready.num_classes == 5


def test_an_image_that_kills_a_process_is_set_aside_and_the_other_device_goes_on(
    tmp_path: Path, notes: Path, two: Labellers
) -> None:
    crew = two.get(spec_in(tmp_path))
    with ThreadPoolExecutor(2) as pool:
        bad = pool.submit(crew.predict, images("a", "poison", "b"), tmp_path / "bad")
        good = pool.submit(crew.predict, images("slow", "c"), tmp_path / "good")
        assert [item.image_id for item in bad.result()] == ["poison"]
        assert good.result() == []
    assert json.loads((tmp_path / "bad").read_text())[1] == ["a", "b"]
    assert json.loads((tmp_path / "good").read_text())[1] == ["slow", "c"]


def test_an_image_that_one_process_gave_up_is_not_tried_by_another(tmp_path: Path, notes: Path, two: Labellers) -> None:
    crew = two.get(spec_in(tmp_path))
    crew.predict(images("poison"), tmp_path / "first")
    busy = crew.next_free()
    assert [item.image_id for item in crew.predict(images("poison", "d"), tmp_path / "second")] == ["poison"]
    assert (notes / "started").read_text().split().count("cpu:1") == 1
    crew.free.put(busy)


def test_who_waits_for_a_process_stops_waiting_when_the_run_is_cancelled(
    tmp_path: Path, notes: Path, two: Labellers
) -> None:
    cancelled = threading.Event()
    crew = two.get(spec_in(tmp_path, cancelled))
    for _ in DEVICES:
        crew.next_free()
    threading.Timer(0.3, cancelled.set).start()
    started = time.monotonic()
    with pytest.raises(CancelledError):
        crew.predict(images("a"), tmp_path / "out")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("files", "device", "expected"),
    [
        ((), "auto", ("auto",)),
        (("nvidia0", "nvidiactl", "nvidia-uvm"), "auto", ("auto",)),
        (("nvidia0", "nvidia1", "nvidiactl"), "cuda:1", ("cuda:1",)),
        (("nvidia0", "nvidia1"), "cpu", ("cpu",)),
        (("nvidia0", "nvidia1"), "auto", ("cuda:0", "cuda:1", "cuda:2")),
    ],
)
def test_every_gpu_is_used_unless_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...], device: str, expected: tuple[str, ...]
) -> None:
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(gpus, "DEVICE_FILES", tmp_path)
    monkeypatch.setattr(labellers, "num_gpus", lambda: 3)
    assert labelling_devices(device) == expected


def test_torch_is_asked_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    gpus.num_gpus.cache_clear()
    assert gpus.num_gpus() == 0
    gpus.num_gpus.cache_clear()
