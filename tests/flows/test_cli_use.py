"""Commands that use a model: errors at once and in one line each; one real prediction and one real score."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from pycocotools.coco import COCO

from flows.cli import main
from segcore.config.train_schema import TrainConfig
from segcore.data.label_maps import write_label_maps
from segcore.process.jobs import ModelSpec, Sample, TrainJob, write_train_job
from segcore.pseudo.predictions import read_image_ids
from segcore.store.lock import lock_holder

NAMES = ("background", "red", "green")
CLASSES = ",".join(NAMES)


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Give the log back as it was: the command line takes it over."""
    logger = logging.getLogger("segcore")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.level, logger.propagate = before


def segloop(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Prefect home of our own."""
    return tmp_path_factory.mktemp("home")


def segloop_for_real(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would, with a Prefect home of its own."""
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    return subprocess.run(command, env=environment_of(home), capture_output=True, text=True, timeout=200)


def environment_of(home: Path) -> dict[str, str]:
    """Return the environment of a command with a Prefect home of its own."""
    environment = {**os.environ, "PREFECT_HOME": str(home), "OMP_NUM_THREADS": "1"}
    environment.pop("PREFECT_API_URL", None)
    return environment


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, write_tiny: Callable[[Path, str], Path]) -> Path:
    """Return a folder with the tiny data set."""
    return write_tiny(tmp_path_factory.mktemp("use"), "tiny").parent / "data"


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """Return a student of random weights and one iteration, made by the training program, without lineage."""
    root = tmp_path_factory.mktemp("student")
    names = [f"train/{index:03d}.png" for index in range(2)]
    write_label_maps(root / "truth.arrow", [(name, np.ones((64, 64), np.uint8)) for name in names])
    (root / "out").mkdir()
    job = TrainJob(
        model=ModelSpec("efficientnet_lite0_upernet", None, None, 8, NAMES, ((0, 0, 0), (255, 0, 0), (0, 255, 0))),
        train=TrainConfig(iterations=1, size=32, batch_size=2, workers=0, precision="fp32"),
        iterations=1,
        seed=0,
        ground_truth=tuple(Sample(name, str(data / name)) for name in names),
        ground_truth_maps=str(root / "truth.arrow"),
        pseudo=(),
        pseudo_maps=None,
        init_weights=None,
        resume_dir=str(root / "resume"),
        out_dir=str(root / "out"),
        device="cpu",
    )
    write_train_job(root / "job.json", job)
    command = [sys.executable, "-m", "segcore.nn.train_process", str(root / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return root / "out" / "model.pth"


def test_a_foreign_model_labels_a_folder(student: Path, data: Path, home: Path, tmp_path: Path) -> None:
    done = segloop_for_real(
        home, "predict", "--checkpoint", student, "--classes", CLASSES, "--images", data / "test",
        "--out", tmp_path / "out", "--format", "png", "--views", "64", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 images labelled, 0 set aside" in done.stdout
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["png"]
    pngs = sorted(path.name for path in (tmp_path / "out" / "png").iterdir())
    assert pngs == [f"{index:03d}.png" for index in range(4)]
    with Image.open(tmp_path / "out" / "png" / "000.png") as png:
        assert (png.size, png.mode) == ((64, 64), "P")
        assert set(np.unique(np.array(png)).tolist()) <= {0, 1, 2}


def test_a_folder_labelled_by_two_models_as_coco_has_every_pixel_annotated(
    student: Path, data: Path, home: Path, tmp_path: Path
) -> None:
    done = segloop_for_real(
        home, "predict", "--checkpoint", student, "--checkpoint", student.parent, "--weight", 2, "--weight", 1,
        "--classes", CLASSES, "--images", data / "test", "--out", tmp_path / "out", "--views", "64", "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    coco = COCO(str(tmp_path / "out" / "annotations.json"))
    assert len(coco.getImgIds()) == 4
    for image_id in coco.getImgIds():
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
        assert sum(annotation["area"] for annotation in annotations) == 64 * 64
        assert not any(annotation["iscrowd"] for annotation in annotations)


def test_a_prediction_that_is_killed_goes_on_with_the_shards_that_are_left(
    student: Path, data: Path, home: Path, tmp_path: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for index in range(450):
        shutil.copy(data / "test" / f"{index % 4:03d}.png", photos / f"{index}.png")
    arguments = (
        "predict", "--checkpoint", student, "--classes", CLASSES, "--images", photos, "--out", out, "--views", "64",
        "--no-flip", "--device", "cpu", "--format", "parquet",
    )  # fmt: skip
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    process = subprocess.Popen(command, env=environment_of(home), stderr=subprocess.DEVNULL)
    wait_until(lambda: list(out.glob(".segloop/labels/shard_*.????????/manifest.json")) or process.poll() is not None)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "killed after its end"
    wait_until(lambda: lock_holder(out / ".segloop") is None)  # its labelling process ends soon after it
    done = segloop_for_real(home, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "450 images labelled, 0 set aside" in done.stdout
    assert ": reused labels/shard_" in done.stdout + done.stderr
    assert len(set(read_image_ids(out / "predictions.parquet"))) == 450
    assert [path.name for path in out.iterdir()] == ["predictions.parquet"]


def wait_until(reached: Callable[[], object], timeout_s: float = 120.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < end, "it was never reached"
        time.sleep(0.05)


def test_a_foreign_model_is_scored_on_what_it_has_not_seen(
    student: Path, data: Path, home: Path, tmp_path: Path
) -> None:
    arguments = (
        "evaluate", "--checkpoint", student, "--annotations", data / "val.json", "--images", data,
        "--unannotated", "background", "--views", "64", "--no-flip", "--device", "cpu",
    )  # fmt: skip
    refused = segloop(*arguments)
    assert refused.exit_code == 8, refused.output
    assert "--foreign-unseen" in refused.output
    trained_on = f"{data / 'train.json'}:{data}"
    result = tmp_path / "result.json"
    done = segloop_for_real(home, *arguments, "--trained-on", trained_on, "--json", result)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "scored on 12 images; 0 left out" in done.stdout
    score = json.loads(result.read_text())
    assert 0 <= score["score"]["miou"]["point"] <= 1
    assert score["lineage"]["num_images"] == 6


@pytest.mark.parametrize("command", ["predict", "vote", "evaluate", "submit", "audit", "import", "demo-data"])
def test_help_says_what_a_command_does(command: str) -> None:
    result = segloop(command, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("predict --checkpoint /nowhere.pth --images . --out o", 4, "/nowhere.pth"),
        ("predict --run nowhere --images . --out o", 5, "run_id"),
        ("predict --images . --out o", 2, "got neither"),
        ("predict --checkpoint x --weight 1 --weight 2 --images . --out o", 4, "x"),
        ("predict --checkpoint x --views 1,b --images . --out o", 2, "whole numbers"),
        ("vote nowhere.parquet other.parquet --out o.parquet", 3, "nowhere.parquet"),
        ("evaluate --run nowhere --annotations a --images .", 5, "run_id"),
        ("submit nowhere --out a.csv", 5, "run_id"),
        ("submit", 2, "--out FILE"),
        ("submit --validate a.csv", 2, "--names"),
        ("audit nowhere --truth t.json", 5, "run_id"),
        ("import masks --images /nowhere --masks . --out o.json", 3, "/nowhere"),
    ],
)
def test_a_wrong_call_ends_at_once_with_one_message(
    arguments: str, code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = segloop(*arguments.split())
    assert result.exit_code == code, result.output
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_csv_is_checked_against_a_coco_list(data: Path, tmp_path: Path) -> None:
    rows = [f"test/{index:03d}.png,0 1 2 0" for index in range(4)]
    path = tmp_path / "s.csv"
    path.write_text("\n".join(["image_id,PredictionString", *rows, ""]))
    arguments = ("submit", "--validate", path, "--names", data / "test.json", "--size", 2, 2)
    assert segloop(*arguments).output.endswith("valid, 4 rows\n")
    result = segloop(*arguments, "--num-classes", 2)
    assert result.exit_code == 3
    assert "line 2" in result.output


def test_csvs_vote(tmp_path: Path) -> None:
    for name, rows in (("a", "x,0 1\ny,1 1"), ("b", "y,1 0\nx,0 2"), ("c", "x,0 1\ny,0 0")):
        (tmp_path / f"{name}.csv").write_text(f"image_id,PredictionString\n{rows}\n")
    files = [tmp_path / f"{name}.csv" for name in "abc"]
    result = segloop("vote", *files, "--out", tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    assert "2 images, 25.0% of the pixels unanimous" in result.output
    assert (tmp_path / "out.csv").read_text() == "image_id,PredictionString\nx,0 1\ny,1 0\n"
    segloop("vote", *files, "--out", tmp_path / "out.csv", "--weight", 1, "--weight", 5, "--weight", 1)
    assert (tmp_path / "out.csv").read_text() == "image_id,PredictionString\nx,0 2\ny,1 0\n"


def test_index_pngs_become_a_coco_file(tmp_path: Path) -> None:
    for folder, value in (("images", 90), ("masks", 1)):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((6, 5), value, np.uint8)).save(tmp_path / folder / "a.png")
    result = segloop(
        "import", "masks", "--images", tmp_path / "images", "--masks", tmp_path / "masks",
        "--out", tmp_path / "c.json", "--classes", "road, car",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "1 images, 1 annotations" in result.output
    assert json.loads((tmp_path / "c.json").read_text())["annotations"][0]["category_id"] == 2
