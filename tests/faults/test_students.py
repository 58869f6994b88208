"""What the students of a run are trained on, with and without parts of the student section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from segcore.config.load import load_config
from segcore.steps.finished import existing_run, published_index
from segcore.steps.index import images_of, pool_of
from segcore.steps.plan import plan_run
from segcore.store.manifest import read_manifest
from segcore.trust.lineage import Lineage

from .stub_loop import SMALL, walk

GROWING = "student.growing=[{head_channels: 24}, {preset: pidnet_small, weights: null}]"


def student_folder(run_dir: Path, round_index: int) -> Path:
    (folder,) = (run_dir / f"round_{round_index:02d}").glob("student.*")
    return folder


def test_by_default_every_student_is_fresh_and_learns_from_labels_alone(few_images: Path, jobs: Any) -> None:
    walk(few_images, SMALL)
    first, second = jobs["round_00/student"], jobs["round_01/student"]
    assert (second.init_weights, second.unlabelled) == (None, ())
    assert (second.model, second.train, second.student) == (first.model, first.train, first.student)


def test_from_the_teacher_students_start_with_its_weights_and_the_control_with_round_0s(
    few_images: Path, jobs: Any
) -> None:
    run_dir = walk(
        few_images,
        (*SMALL, "student.start=teacher", "train.round_lr=0.0001", "loop.control=true", "loop.final_refit=true"),
    )
    first = student_folder(run_dir, 0) / "model.pth"
    assert jobs["round_00/student"].init_weights is None
    assert jobs["round_01/student"].init_weights == str(first)
    assert (jobs["round_00/student"].train.lr, jobs["round_01/student"].train.lr) == (0.003, 0.0001)
    winners = jobs["final/refit"].init_weights
    (control,) = (job for place, job in jobs.items() if place.endswith("control"))
    assert control.init_weights == str(first)
    assert winners in {str(student_folder(run_dir, index) / "model.pth") for index in range(2)}
    key = read_manifest(student_folder(run_dir, 1)).inputs
    assert key["start"] == Lineage.read(student_folder(run_dir, 1) / "lineage.json").ancestors[0]
    plan = plan_run(load_config(few_images, (*SMALL, "student.start=teacher", "train.round_lr=0.0002")), run_dir)
    (redone,) = (step for step in plan.steps if step.place == "round_01/student")
    assert redone.because == ("train.round_lr (else train.lr)",)


def test_a_growing_student_is_another_model_in_each_round_and_the_last_one_stays(few_images: Path, jobs: Any) -> None:
    walk(few_images, (*SMALL, "loop.rounds=3", GROWING))
    models = [jobs[f"round_{index:02d}/student"].model for index in range(4)]
    assert [model.head_channels for model in models[:2]] == [16, 24]
    assert [model.preset for model in models[2:]] == ["pidnet_small"] * 2


def test_consistency_training_alone_learns_from_the_pool_and_its_lineage_says_so(few_images: Path, jobs: Any) -> None:
    run_dir = walk(few_images, (*SMALL, "loop.rounds=0", "student.consistency={}", "pool.use_test=false"))
    run = existing_run(run_dir)
    index = published_index(run)
    pool = pool_of(run, index)
    assert {image.role for image in pool} == {"unlabeled"}
    assert {sample.image_id for sample in jobs["round_00/student"].unlabelled} == {image.image_id for image in pool}
    seen = Lineage.read(student_folder(run_dir, 0) / "lineage.json").images
    assert {image.sha256 for image in seen if image.via == "pseudo"} == {image.sha256 for image in pool}
    assert {image.sha256 for image in seen if image.via == "gt"} == {
        image.sha256 for image in images_of(run, index, "train")
    }


def test_with_consistency_training_the_pool_is_part_of_every_students_key(few_images: Path, jobs: Any) -> None:
    run_dir = walk(few_images, (*SMALL, "student.consistency={}"))
    plan = plan_run(load_config(few_images, (*SMALL, "student.consistency={}", "pool.use_test=false")), run_dir)
    redone = next(step for step in plan.steps if step.verdict == "redo")
    assert (redone.place, redone.because) == ("round_00/student", ("pool",))
