"""Walk runs in this one process, as flows/ walk them: without Prefect, training and predicting by real networks.

`python -m tests.configs.one_process SETTINGS.json`: [[config, [override, …]], …]. The two child programs are called as
functions, so that the libraries are imported once for all runs.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from segcore.nn.known_warnings import silence_known_warnings
from segcore.process.jobs import PredictJob, PredictRequest, Ready, TrainJob
from segcore.process.labeller import LabellerSpec
from segcore.steps import label, train
from tests.faults import stub_loop


def train_here(job_path: Path, job: TrainJob, log_path: Path, options: Any) -> None:
    """Train as the training program does."""
    from segcore.nn import train_process

    assert train_process.run(job) == 0


@lru_cache(maxsize=1)
def predictor(job: PredictJob) -> Any:
    """Return the loaded networks of a job."""
    from segcore.nn.predictor import open_predictor

    return open_predictor(job)


def crew(spec: LabellerSpec) -> Any:
    """Return what predicts as a crew of labelling processes does."""

    def predict(images: Any, out: Path, on_progress: Any = None) -> Any:
        return predictor(spec.job).run(PredictRequest(tuple(images), str(out)), lambda done, working: None)

    return SimpleNamespace(predict=predict, ready=Ready("cpu", "fp32", 0))


if __name__ == "__main__":
    silence_known_warnings()
    stub_loop.replace_tasks(setattr)
    train.run_training = train_here
    label.labellers = SimpleNamespace(get=crew)
    for config, overrides in json.loads(Path(sys.argv[1]).read_text()):
        stub_loop.walk(Path(config), overrides)
