from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from segcore.config.label_schema import LabelConfig
from segcore.process.jobs import (
    PredictImage,
    PredictJob,
    PredictRequest,
    Ready,
    TeacherFiles,
    request_line,
    write_predict_job,
)
from segcore.process.labeller import LabellerSpec
from segcore.process.labellers import Labellers
from segcore.pseudo.predictions import read_predictions

from .conftest import draw


def job_of(trained: Path, **changes: object) -> PredictJob:
    job = PredictJob((teacher_of(trained),), 3, LabelConfig(sizes=(64,), flip=True), device="cpu")
    return dataclasses.replace(job, **changes)  # type: ignore[arg-type]


def teacher_of(trained: Path) -> TeacherFiles:
    return TeacherFiles(str(trained / "model.pth"), str(trained / "model_config.py"))


def predict(job: PredictJob, root: Path, *requests: PredictRequest) -> tuple[int, list[dict[str, object]], str]:
    """Return exit status, events and standard error of a prediction program given requests."""
    write_predict_job(root / "job.json", job)
    command = [sys.executable, "-m", "segcore.nn.predict_process", str(root / "job.json")]
    lines = "".join(map(request_line, requests))
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_requests_are_answered_in_turn_and_bad_images_set_aside(trained: Path, tmp_path: Path) -> None:
    images = []
    for index, (height, width) in enumerate([(64, 64), (64, 64), (51, 80)]):
        cv2.imwrite(str(tmp_path / f"{index}.png"), draw(index, height, width)[0])
        small = (16, 12) if index == 2 else None
        images.append(PredictImage(f"test/{index}.png", str(tmp_path / f"{index}.png"), small))
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    torn = PredictImage("test/torn.jpg", str(tmp_path / "torn.jpg"))
    missing = PredictImage("test/missing.jpg", str(tmp_path / "missing.jpg"))
    first, second = tmp_path / "a.parquet", tmp_path / "b.parquet"

    status, events, errors = predict(
        job_of(trained),
        tmp_path,
        PredictRequest((images[0], torn, images[1], missing, images[2]), str(first)),
        PredictRequest((images[0],), str(second)),
    )
    assert status == 0, errors
    assert "Warning" not in errors, errors
    ready = Ready("cpu", "fp32", num_classes=3)  # a student's config names no data set
    assert events[0] == {"event": "ready", **dataclasses.asdict(ready)}
    done = [event for event in events if event["event"] == "done"]
    assert [event["out"] for event in done] == [str(first), str(second)]
    assert [event["num_images"] for event in done] == [3, 1]
    reasons = {found["image_id"]: found["reason"] for found in done[0]["quarantined"]}  # type: ignore[index,attr-defined]
    assert set(reasons) == {"test/torn.jpg", "test/missing.jpg"}
    assert "torn.jpg" in reasons["test/torn.jpg"]
    working = [name for event in events if event["event"] == "progress" for name in event["working"]]  # type: ignore[attr-defined]
    assert working == ["test/0.png", "test/torn.jpg", "test/1.png", "test/missing.jpg", "test/2.png", "test/0.png"]

    found = list(read_predictions(first))
    assert [prediction.image_id for prediction in found] == ["test/0.png", "test/1.png", "test/2.png"]
    assert found[2].label_map.shape == found[2].confidence.shape == (51, 80)
    assert found[0].small_label_map is None
    assert found[2].small_label_map is not None
    assert found[2].small_label_map.shape == (16, 12)
    again = next(read_predictions(second))
    assert np.array_equal(again.label_map, found[0].label_map)
    assert np.array_equal(again.confidence, found[0].confidence)


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"checkpoint": "/nowhere/model.pth"}, 4, "/nowhere/model.pth"),
        ({"config": "/nowhere/config.py"}, 2, "/nowhere/config.py"),
        ({"weight": -1.0}, 2, "positive number"),
    ],
)
def test_a_model_that_cannot_be_used_is_reported_as_an_event_and_by_status(
    trained: Path, tmp_path: Path, changes: dict[str, object], status: int, words: str
) -> None:
    teacher = dataclasses.replace(teacher_of(trained), **changes)  # type: ignore[arg-type]
    found, events, errors = predict(job_of(trained, teachers=(teacher,)), tmp_path)
    assert found == status, errors
    assert [event["event"] for event in events] == ["failed"]
    assert words in str(events[0]["message"])
    assert "Traceback" not in errors


def test_two_processes_share_the_shards_of_a_job_and_say_what_one_says(trained: Path, tmp_path: Path) -> None:
    images = []
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"{index}.png"), draw(index, 64, 64)[0])
        images.append(PredictImage(f"{index}", str(tmp_path / f"{index}.png")))
    shards = {"a": images[:2], "b": images[2:]}
    two = Labellers(lambda device: (device, device))
    crew = two.get(LabellerSpec(job_of(trained), tmp_path / "label.log", (), 1.0, 120.0, 1, lambda: False))
    with closing(two), ThreadPoolExecutor(2) as pool:
        asked = {name: pool.submit(crew.predict, shard, tmp_path / f"{name}.parquet") for name, shard in shards.items()}
        assert [request.result() for request in asked.values()] == [[], []]
        assert all(member.child is not None for member in crew.members)
        assert crew.predict(images, tmp_path / "all.parquet") == []
    alone = list(read_predictions(tmp_path / "all.parquet"))
    shared = [found for name in shards for found in read_predictions(tmp_path / f"{name}.parquet")]
    for one, other in zip(alone, shared, strict=True):
        assert one.image_id == other.image_id
        assert np.array_equal(one.label_map, other.label_map)
