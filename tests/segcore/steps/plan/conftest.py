"""The loop with its two child programs replaced by a few lines: every step real but training and prediction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segcore.process.jobs import TrainJob
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.records import RoundRecord
from segcore.steps import evaluate, label, train
from segcore.steps.decide import DecideSpec, decide, goes_on, teacher_of
from segcore.steps.evaluate import EvaluateSpec
from segcore.steps.index import index_images
from segcore.steps.inspect_labels import inspect_labels
from segcore.steps.label import label_specs
from segcore.steps.places import evaluation_place, student_place
from segcore.steps.pseudo_labels import calibrate, filter_labels, filter_spec
from segcore.steps.quality_card import InspectSpec
from segcore.steps.run import Run, open_run
from segcore.steps.train import TrainSpec
from segcore.trust.loop_policy import winner

SIDE = 64


def fake_training(job_path: Path, job: TrainJob, log_path: Path, options: Any) -> None:
    """Write weights that follow from the job's seed and length."""
    text = json.dumps([job.seed, job.iterations, job.train.lr, len(job.pseudo)])
    Path(job.out_dir, "model.pth").write_text(text)
    Path(job.out_dir, "model_config.py").write_text("model = dict()\n")


def fake_predict(run: Run, index: Any, checkpoint: Any, what: Any) -> dict[str, Any]:
    """Write random predictions that follow from the checkpoint and the image."""
    with PredictionWriter(what.work / label.PREDICTIONS) as writer:
        for image in what.images:
            text = (checkpoint.digest + image.image_id).encode()
            rng = np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:4], "big"))
            label_map = np.repeat(np.repeat(rng.integers(0, 3, (8, 8), dtype=np.uint8), 8, 0), 8, 1)
            confidence = rng.integers(30, 200, (SIDE, SIDE), dtype=np.uint8)
            size = label.small_size(run, image)
            small = None if size is None else np.zeros(size, np.uint8)
            writer.write(Prediction(image.image_id, label_map, confidence, small))
    return {"num_images": len(what.images), "quarantined": []}


def label_pool(run: Run, index: Any, history: tuple[RoundRecord, ...], teacher: Any, final: bool) -> Any:
    """Label as flows/round.py does."""
    place = None if final else len(history)
    shards = tuple(label.label_shard(spec) for spec in label_specs(run, index, teacher, place))
    spec = filter_spec(run, index, history, teacher, shards, final)
    calibration = calibrate(spec)
    return inspect_labels(InspectSpec(spec, calibration, filter_labels(spec, calibration), history))


def walk(config: Path, overrides: Sequence[str] = (), update: bool = False) -> Path:
    """Run the loop as flows do, one step after the other; return the run folder."""
    with open_run(str(config), None, update, overrides) as run:
        index = index_images(run)
        history: tuple[RoundRecord, ...] = ()
        while not history or goes_on(run, history)[0]:
            teacher = teacher_of(history)
            found = None if teacher is None else label_pool(run, index, history, teacher, final=False)
            pseudo, card = (None, None) if found is None else (found.labels, found.output)
            spec = TrainSpec(run, index, len(history), pseudo, teacher, student_place(len(history)))
            student = train.train(spec)
            scored = evaluate.evaluate(EvaluateSpec(run, index, student.checkpoint, evaluation_place(len(history))))
            history = (*history, decide(DecideSpec(run, index, history, teacher, student, scored, pseudo, card)))
        label_pool(run, index, history, winner(history).student, final=True)
        return run.path


def replace_programs(patch: pytest.MonkeyPatch) -> None:
    """Put the fakes in place of the child programs."""
    patch.setattr(train, "run_training", fake_training)
    patch.setattr(label, "predict", fake_predict)
    patch.setattr(evaluate, "predict", fake_predict)


@pytest.fixture
def tiny_loop(tmp_path: Path, write_tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function (overrides=(), update=False) that runs tmp_path/tiny.yaml and returns the run folder."""
    replace_programs(monkeypatch)
    config = write_tiny(tmp_path, "tiny")

    def run(overrides: Sequence[str] = (), update: bool = False) -> Path:
        return walk(config, overrides, update)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, write_tiny: Any) -> Path:
    """Return a folder with tiny.yaml and its finished run artifacts/tiny. To be looked at only."""
    root = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        replace_programs(patch)
        walk(write_tiny(root, "tiny"))
    return root
