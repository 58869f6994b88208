"""The loop as flows/ walks it, without Prefect and without a network: every step real but training and prediction.

The flows' own functions run; their tasks are replaced by the segcore calls that these make, and the two child programs
by a few lines that write what follows from their inputs alone. So a whole run takes a fraction of a second, and a
change of the flows is followed without a copy of them here. No pytest is needed: every_point.py walks in processes that
die, and `python tests/faults/stub_loop.py CONFIG` is a process to be watched or stopped.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from flows import final, pseudo_label_loop, round, students
from segcore.process.jobs import TrainJob
from segcore.process.training import PROGRESS
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.pseudo.votes import Votes, VoteWriter, grid_step, votes_path
from segcore.records import ImageRecord
from segcore.steps import (
    decide,
    evaluate,
    given_teacher,
    index,
    inspect_labels,
    label,
    outputs,
    pseudo_labels,
    student_ensemble,
    train,
)

SIDE = 64
SMALL = (
    "loop.rounds=2", "loop.patience=9", "loop.gate_resamples=100", "label.num_shards=2", "label.flip=true",
    "roles.min_gate_images=1", "train.batch_size=4",
)  # fmt: skip
CHECKPOINT = "iteration_00000001.pth"
TASKS: dict[str, Callable[..., Any]] = {
    "index_images": index.index_images,
    "import_teacher": given_teacher.import_teacher,
    "train_student": train.train,
    "ask_member": student_ensemble.ask,
    "join_students": student_ensemble.join,
    "label_shard": label.label_shard,
    "calibrate": pseudo_labels.calibrate,
    "filter_labels": pseudo_labels.filter_labels,
    "inspect_pseudo_labels": inspect_labels.inspect_labels,
    "evaluate_student": evaluate.evaluate,
    "decide_round": decide.decide,
    "publish_outputs": outputs.publish_outputs,
}


def submitted(function: Callable[..., Any]) -> SimpleNamespace:
    """Return something with a task's submit(…).result() that calls function at once."""

    def submit(*arguments: Any) -> SimpleNamespace:
        found = function(*arguments)
        return SimpleNamespace(result=lambda: found)

    return SimpleNamespace(submit=submit)


def stub_training(job_path: Path, job: TrainJob, log_path: Path, options: Any) -> None:
    """Leave a checkpoint, a line of progress, and weights that follow from the job's seed, length and images."""
    text = json.dumps([job.seed, job.iterations, job.train.lr, len(job.pseudo), len(job.ground_truth)])
    resume, out = Path(job.resume_dir), Path(job.out_dir)
    (resume / CHECKPOINT).write_text(text)
    with (resume / PROGRESS).open("a") as progress:
        progress.write(json.dumps({"iteration": 1, "num_iterations": 1, "loss": 1.0, "lr": 1.0}) + "\n")
    (out / train.WEIGHTS).write_text(text)
    (out / train.MODEL_CONFIG).write_text("model = dict()\n")
    (out / "logs").mkdir()
    (out / "logs" / PROGRESS).write_bytes((resume / PROGRESS).read_bytes())


def stub_predict(run: Any, pool: Any, checkpoint: Any, what: Any) -> dict[str, Any]:
    """Write blocks of random classes that follow from the checkpoint and the image."""
    path = what.work / label.PREDICTIONS
    with PredictionWriter(path) as writer, VoteWriter(votes_path(path)) as voter:
        for image in what.images:
            found = drawn(image, checkpoint.digest, label.small_size(run, image))
            writer.write(found)
            if what.vote_px is not None:
                voter.write(sure_votes(found, what.vote_px))
    return {"num_images": len(what.images), "quarantined": []}


def drawn(image: ImageRecord, weights: str, size: tuple[int, int] | None) -> Prediction:
    """Return the prediction of one image."""
    rng = np.random.default_rng(list(hashlib.sha256((weights + image.image_id).encode()).digest()))
    label_map = np.kron(rng.integers(0, 3, (8, 8), np.uint8), np.ones((SIDE // 8, SIDE // 8), np.uint8))
    confidence = rng.integers(30, 200, (SIDE, SIDE), np.uint8)
    small = None if size is None else np.zeros(size, np.uint8)
    return Prediction(image.image_id, label_map, confidence, small, agreement=float(rng.random()))


def sure_votes(prediction: Prediction, max_px: int) -> Votes:
    """Return the votes of a model that is sure of its prediction."""
    step = grid_step(prediction.label_map.shape, max_px)
    values = np.eye(3, dtype=np.float16)[prediction.label_map[::step, ::step]].transpose(2, 0, 1)
    return Votes(prediction.image_id, values, step)


def replace_parts(put: Callable[[Any, str, Any], None]) -> None:
    """Replace tasks and child programs. put: setattr, or a monkeypatch's."""
    replace_tasks(put)
    put(train, "run_training", stub_training)
    put(label, "predict", stub_predict)
    put(evaluate, "predict", stub_predict)
    put(student_ensemble, "predict", stub_predict)


def replace_tasks(put: Callable[[Any, str, Any], None]) -> None:
    """Replace tasks alone: the child programs are the real ones. put: as above."""
    steps = SimpleNamespace(**{name: submitted(function) for name, function in TASKS.items()})
    for module in (pseudo_label_loop, round, final, students):
        put(module, "steps", steps)
    put(pseudo_label_loop, "pseudo_label_round", round.pseudo_label_round.fn)


def walk(config: Path, overrides: Sequence[str] = (), update: bool = False, run_id: str | None = None) -> Path:
    """Run the loop to its end, going on with what is there; return the run folder."""
    summary = pseudo_label_loop.pseudo_label_loop.fn(str(config), run_id, update, overrides)
    return Path(summary.outputs).parent


if __name__ == "__main__":
    replace_parts(setattr)
    walk(Path(sys.argv[1]), SMALL)
