"""`segloop run --check`: everything that can be known to be wrong before any training, said at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from segcore.config.schema import RunConfig
from segcore.data.check import check_data
from segcore.data.sources import Dataset, load_dataset
from segcore.errors import CheckpointError, ConfigError, DataError, SegloopError, StepError
from segcore.nn.class_pixels import weights_by_name
from segcore.nn.presets import preset_named, start_file
from segcore.process.jobs import CheckJob, ImportJob, check_job_text
from segcore.pseudo.thresholds import by_class
from segcore.records import ClassMap
from segcore.steps.plan import config_changes
from segcore.steps.round_models import model_spec, models_of
from segcore.store.disk import require_free_space
from segcore.store.lock import lock_holder

CHILD_TIMEOUT_S = 600


@dataclass(frozen=True)
class CheckFinding:
    """One thing looked at. exit_code: of an error's class; 0 for what does not keep a run from starting."""

    severity: Literal["error", "warning", "ok"]
    message: str
    exit_code: int = 0


def check_run(config: RunConfig, folder: Path) -> list[CheckFinding]:
    """Return everything found about a config's data, classes, model, disk and run folder; nothing is written.

    folder: of the run, which need not exist. Image files are looked at by their headers only.
    """
    data = list(data_findings(config))
    dataset = None if any(item.severity == "error" for item in data) else load_dataset(config)
    return [
        *data,
        *([] if dataset is None else class_findings(config, dataset.class_map)),
        *model_findings(config, None if dataset is None else dataset.class_map),
        *place_findings(config, folder),
        *([] if dataset is None else [counted(dataset)]),
    ]


def data_findings(config: RunConfig) -> Iterator[CheckFinding]:
    """Yield what is wrong or doubtful with lists, label files and image headers."""
    for item in check_data(config):
        yield CheckFinding(item.severity, item.message, DataError.exit_code if item.severity == "error" else 0)


def counted(dataset: Dataset) -> CheckFinding:
    """Return how many images each source has, and the classes."""
    counts = ", ".join(f"{len(images)} {source}" for source, images in dataset.sources.items())
    return CheckFinding("ok", f"data: {counts}; classes {', '.join(dataset.class_map.names)}")


def class_findings(config: RunConfig, classes: ClassMap) -> Iterator[CheckFinding]:
    """Yield what the config says of classes that the data do not have."""
    weights = config.train.loss.class_weights
    if not isinstance(weights, str):
        yield from raised(lambda: weights_by_name(weights, classes.names))
    if config.filter.policy == "fixed":
        yield from raised(lambda: by_class("filter.tau", config.filter.tau, classes.names))
    else:
        targets = config.filter.target_precision
        yield from raised(lambda: by_class("filter.target_precision", targets, classes.names))


def model_findings(config: RunConfig, classes: ClassMap | None) -> Iterator[CheckFinding]:
    """Yield what is wrong with model, weights and given teacher. classes: None while the data are wrong.

    What needs the network itself is asked of a child process, so that torch is not loaded here.
    """
    missing = list(raised(lambda: preset_known(config))) or list(missing_files(config))
    yield from missing
    if missing:
        return
    if classes is None:
        yield CheckFinding("warning", "model and weights were not tried: the data must be readable first")
        return
    yield from ask_child(check_job(config, classes))


def preset_known(config: RunConfig) -> None:
    """Raise ConfigError if a model names a preset that does not exist."""
    for model in models_of(config).values():
        if model.preset is not None:
            preset_named(model.preset)


def missing_files(config: RunConfig) -> Iterator[CheckFinding]:
    """Yield an error for every file of the models and the given teacher that is not there."""
    files: dict[str, Path | None] = {}
    for field, model in models_of(config).items():
        files[f"{field}.config"] = model.config
        for item in raised(partial(start_file, model.preset, model.weights)):
            yield replace(item, message=f"{field}.weights: {item.message}")
    if config.model.teacher is not None:
        files["model.teacher.checkpoint"] = config.model.teacher.checkpoint
        files["model.teacher.config"] = config.model.teacher.config
    for name, path in files.items():
        if path is not None and not path.is_file():
            code = (ConfigError if name.endswith("config") else CheckpointError).exit_code
            yield CheckFinding("error", f"{name} must be a file, and {path} is none; check the path", code)


def check_job(config: RunConfig, classes: ClassMap) -> CheckJob:
    """Return what the child is to try."""
    given = config.model.teacher
    models = {field: model_spec(model, classes) for field, model in models_of(config).items()}
    teacher = None
    if given is not None:
        files = str(given.checkpoint), str(given.config)
        teacher = ImportJob(*files, classes.names, classes.palette, config.train.size, out_dir="")
    consistency, train = config.student.consistency is not None, config.train
    return CheckJob(models, train.size, teacher, config.runtime.device, train.loss, consistency, train.gpus)


def ask_child(job: CheckJob) -> Iterator[CheckFinding]:
    """Yield what segcore/nn/check_process.py says of a job."""
    command = [sys.executable, "-m", "segcore.nn.check_process"]
    text = check_job_text(job)
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=CHILD_TIMEOUT_S, check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])["findings"]
    except subprocess.TimeoutExpired:
        message = f"building the model took more than {CHILD_TIMEOUT_S} s; look at model.config"
        yield CheckFinding("error", message, StepError.exit_code)
        return
    except (ValueError, IndexError, KeyError, TypeError):
        tail = (done.stderr.strip() or "no output").splitlines()[-1]
        message = f"trying the model ended with exit code {done.returncode}: {tail}; `segloop doctor` may know more"
        yield CheckFinding("error", message, StepError.exit_code)
        return
    yield from (CheckFinding(item["severity"], item["message"], item["exit_code"]) for item in found)


def place_findings(config: RunConfig, folder: Path) -> Iterator[CheckFinding]:
    """Yield what is wrong with the run folder and its disk."""
    yield from raised(lambda: require_free_space(folder, config.runtime.min_free_gb))
    holder = lock_holder(folder)
    if holder is not None:
        yield CheckFinding("warning", f"{folder} is held by {holder}; wait for it, or use another run_id")
    changes: list[str] = []
    yield from raised(lambda: changes.extend(config_changes(config, folder)))
    if changes:
        shown = "; ".join(changes)
        yield CheckFinding("warning", f"{folder} was started with another config ({shown}); --update will be needed")


def raised(action: Callable[[], object]) -> Iterator[CheckFinding]:
    """Yield segloop's own error of an action as a finding."""
    try:
        action()
    except SegloopError as error:
        yield CheckFinding("error", str(error), error.exit_code)
