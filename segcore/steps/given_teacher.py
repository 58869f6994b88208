"""The import step: a checkpoint from outside, brought into the run as the student of round 0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from segcore.process.jobs import ImportJob, write_import_job
from segcore.process.training import run_import
from segcore.steps.config_chain import config_sha256
from segcore.steps.index import Index, class_map_of
from segcore.steps.run import Run, ensure_step
from segcore.steps.train import LINEAGE, WEIGHTS, Student, TrainSpec, class_lists, student_of, training_options
from segcore.store.canonical import file_sha256
from segcore.store.steps import Step
from segcore.trust.lineage import Lineage, SeenImage

VERSION = 2


def has_given_teacher(run: Run) -> bool:
    """Return whether round 0 is a checkpoint from outside."""
    return run.config.model.teacher is not None


def import_step(spec: TrainSpec) -> Step:
    """Return the import step of a given teacher: its files, and the images it was trained on."""
    given = spec.run.config.model.teacher
    assert given is not None, "only with model.teacher"
    inputs = {
        "checkpoint": file_sha256(given.checkpoint),
        "config": config_sha256(given.config),
        "trained_on": file_sha256(teacher_images_path(spec.run, spec.index)),
        "classes": [list(pair) for pair in zip(*class_lists(spec), strict=True)],
    }
    return Step("import", VERSION, spec.place, inputs)


def import_teacher(spec: TrainSpec) -> Student:
    """Bring the checkpoint of model.teacher into the run as the student of round 0."""
    run, step = spec.run, import_step(spec)
    published = ensure_step(run, step, lambda work: build_import(spec, step, work))
    return student_of(run, published)


def build_import(spec: TrainSpec, step: Step, work: Path) -> dict[str, Any]:
    """Copy the given weights, tensors only, and a config beside them; note every image they were trained on."""
    run, classes = spec.run, class_map_of(spec.run, spec.index)
    given = run.config.model.teacher
    assert given is not None, "only with model.teacher"
    job = ImportJob(
        str(given.checkpoint), str(given.config), classes.names, classes.palette, run.config.train.size, str(work)
    )
    job_path = run.layout.resume_dir(step) / "job.json"
    job_path.parent.mkdir(parents=True, exist_ok=True)
    write_import_job(job_path, job)
    run_import(job_path, run.layout.log_file(step), training_options(run, step))
    rows = json.loads(teacher_images_path(run, spec.index).read_text(encoding="utf-8"))
    images = frozenset(SeenImage(sha256, group, "gt") for sha256, group in rows)
    Lineage(images).write(work / LINEAGE)
    return {"weights_sha256": file_sha256(work / WEIGHTS), "num_trained_on": len(images)}


def teacher_images_path(run: Run, index: Index) -> Path:
    """Return the index's list of images the given teacher was trained on."""
    return run.path / index.output.path / "teacher_images.json"
