"""Row 6: every field of the run config, with the first step that a change of it makes be done again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from segcore.config.load import load_config
from segcore.config.messages import section_of
from segcore.config.schema import RunConfig
from segcore.errors import RunChangedError
from segcore.steps.plan import plan_run
from segcore.store.events import read_events

from .stub_loop import SMALL, walk

FREE = "nothing is asked, nothing is done again"  # where and how it runs
JUDGED = "asked, nothing is done again but what is made anew each time: gate, outputs"
INDEX, STUDENT, LATER_STUDENT = "index", "round_00/student", "round_01/student"
SCORE, LABELS, PSEUDO = "round_00/evaluation", "round_01/labels", "round_01/pseudo_labels"
CARD = "round_01/card"
CONTROL, NEXT_ROUND, REFIT = "round_01/control", "round_03/labels", "final/refit"  # round 1 wins here

POOL = "data.unlabeled=[{{annotations: {root}/%s/unlabeled.json, images: {root}/%s}}]"
TEACHER = "model.teacher={{checkpoint: {root}/given.pth, config: {root}/given.py, trained_on: []}}"
GROWING = "student.growing=[{{preset: null, config: {root}/given.py}}]"
GIVEN_MODEL = "model={{preset: null, config: {root}/given.py}}"
MEMBER, SECOND_STUDENT = "ensemble.members=[{{%s}}]", "round_00/student_1"

# field: (how it is changed, the first step to be done again). Paths are changed to equal files in another place.
TABLE: dict[str, tuple[str, str]] = {
    "run_id": ("run_id=other", FREE),
    "data.train.annotations": ("data.train.annotations={root}/moved/train.json", JUDGED),
    "data.train.images": ("data.train.images={root}/moved", JUDGED),
    "data.val.annotations": ("data.val.annotations={root}/moved/val.json", JUDGED),
    "data.val.images": ("data.val.images={root}/moved", JUDGED),
    "data.unlabeled.annotations": (POOL % ("moved", "data"), JUDGED),
    "data.unlabeled.images": (POOL % ("data", "moved"), JUDGED),
    "data.test.images": ("data.test.images={root}/moved", JUDGED),
    "data.test.annotations": ("data.test.annotations={root}/moved/test.json", JUDGED),
    "data.test_labels": ("data.test_labels={root}/data/test.json", INDEX),
    "data.unannotated": ("data.unannotated=ignore", INDEX),
    "data.background": ("data.background=ground", INDEX),
    "data.palette": ("data.palette={{red: [9, 9, 9]}}", INDEX),
    "data.max_megapixels": ("data.max_megapixels=100", INDEX),
    "roles.seed": ("roles.seed=5", INDEX),
    "roles.val_share": ("roles.val_share=0.5", INDEX),
    "roles.gate_share": ("roles.gate_share=0.5", INDEX),
    "roles.report_share": ("roles.report_share=0.2", INDEX),
    "roles.min_gate_images": ("roles.min_gate_images=2", JUDGED),
    "roles.fold.index": ("roles.fold={{index: 1, of: 2}}", INDEX),
    "roles.fold.of": ("roles.fold={{index: 0, of: 3}}", INDEX),
    "pool.use_test": ("pool.use_test=false", LABELS),
    "pool.max_images": ("pool.max_images=2", LABELS),
    "pool.drop_near_duplicates": ("pool.drop_near_duplicates=true", INDEX),
    "model.preset": (GIVEN_MODEL, STUDENT),
    "model.config": (GIVEN_MODEL, STUDENT),
    "model.weights": ("model.weights=null", STUDENT),
    "model.head_channels": ("model.head_channels=8", STUDENT),
    "model.tiny": ("model={{weights: null, tiny: true}}", STUDENT),
    "model.teacher.checkpoint": (TEACHER, INDEX),
    "model.teacher.config": (TEACHER, INDEX),
    "model.teacher.trained_on.images": (TEACHER, INDEX),
    "model.teacher.trained_on.annotations": (TEACHER, INDEX),
    "ensemble.members.preset": (MEMBER % "preset: null, config: {root}/given.py", SECOND_STUDENT),
    "ensemble.members.config": (MEMBER % "preset: null, config: {root}/given.py", SECOND_STUDENT),
    "ensemble.members.weights": (MEMBER % "weights: null", SECOND_STUDENT),
    "ensemble.members.tiny": (MEMBER % "tiny: true, weights: null", SECOND_STUDENT),
    "ensemble.members.head_channels": (MEMBER % "head_channels: 8", SECOND_STUDENT),
    "ensemble.weights": ("ensemble.weights=equal", JUDGED),  # without members; with them: test_student_ensemble.py
    "student.start": ("student.start=teacher", LATER_STUDENT),
    "student.growing.preset": (GROWING, LATER_STUDENT),
    "student.growing.config": (GROWING, LATER_STUDENT),
    "student.growing.weights": (GROWING, LATER_STUDENT),
    "student.growing.head_channels": (GROWING, LATER_STUDENT),
    "student.growing.tiny": (GROWING, LATER_STUDENT),
    "student.ema": ("student.ema=0.9", STUDENT),
    "student.freeze_batch_norm": ("student.freeze_batch_norm=true", STUDENT),
    "student.consistency.unlabelled_batch": ("student.consistency={{unlabelled_batch: 3}}", STUDENT),
    "student.consistency.weight": ("student.consistency={{weight: 2}}", STUDENT),
    "student.consistency.tau": ("student.consistency={{tau: 0.9}}", STUDENT),
    "student.consistency.ema": ("student.consistency={{ema: 0.9}}", STUDENT),
    "student.consistency.feature_dropout": ("student.consistency={{feature_dropout: 0}}", STUDENT),
    "student.consistency.cutmix": ("student.consistency={{cutmix: 0}}", STUDENT),
    "train.iterations": ("train.iterations=9", STUDENT),
    "train.round_iterations": ("train.round_iterations=9", LATER_STUDENT),
    "train.batch_size": ("train.batch_size=3", STUDENT),
    "train.size": ("train.size=96", STUDENT),
    "train.lr": ("train.lr=0.5", STUDENT),
    "train.round_lr": ("train.round_lr=0.5", LATER_STUDENT),
    "train.backbone_lr_mult": ("train.backbone_lr_mult=1", STUDENT),
    "train.weight_decay": ("train.weight_decay=0.5", STUDENT),
    "train.warmup_iterations": ("train.warmup_iterations=3", STUDENT),
    "train.poly_power": ("train.poly_power=2", STUDENT),
    "train.pseudo_share": ("train.pseudo_share=0.3", LATER_STUDENT),
    "train.gt_only_last": ("train.gt_only_last=0.2", LATER_STUDENT),
    "train.rare_class_share": ("train.rare_class_share=0.5", STUDENT),
    "train.rare_class_temperature": ("train.rare_class_temperature=0.1", STUDENT),
    "train.loss.class_weights": ("train.loss.class_weights=inverse_sqrt", STUDENT),
    "train.loss.ohem": ("train.loss.ohem=0.7", STUDENT),
    "train.loss.region": ("train.loss.region=lovasz", STUDENT),
    "train.loss.region_weight": ("train.loss.region_weight=0.5", STUDENT),
    "train.loss.pseudo_weight": ("train.loss.pseudo_weight=0.5", STUDENT),
    "train.loss.pseudo_ramp": ("train.loss.pseudo_ramp=0.2", STUDENT),
    "train.loss.confidence_weighted": ("train.loss.confidence_weighted=true", STUDENT),
    "train.augment.scale_range": ("train.augment.scale_range=[1, 2]", STUDENT),
    "train.augment.flip": ("train.augment.flip=0.1", STUDENT),
    "train.augment.photometric": ("train.augment.photometric=false", STUDENT),
    "train.augment.crop_max_share": ("train.augment.crop_max_share=0.7", STUDENT),
    "train.augment.rotate_90": ("train.augment.rotate_90=0.1", STUDENT),
    "train.augment.copy_paste": ("train.augment.copy_paste=0.1", STUDENT),
    "train.augment.blur": ("train.augment.blur=0.1", STUDENT),
    "train.augment.strong.colour_jitter": ("train.augment.strong.colour_jitter=0.1", LATER_STUDENT),
    "train.augment.strong.grey": ("train.augment.strong.grey=0.1", LATER_STUDENT),
    "train.augment.strong.blur": ("train.augment.strong.blur=0.1", LATER_STUDENT),
    "train.augment.strong.cutout": ("train.augment.strong.cutout=0.1", LATER_STUDENT),
    "train.augment.strong.cutmix": ("train.augment.strong.cutmix=0.1", LATER_STUDENT),
    "train.precision": ("train.precision=fp32", STUDENT),
    "train.gpus": ("train.gpus=2", FREE),
    "train.checkpoint_every": ("train.checkpoint_every=3", FREE),
    "train.keep_checkpoints": ("train.keep_checkpoints=5", FREE),
    "train.workers": ("train.workers=1", FREE),
    "label.sizes": ("label.sizes=[96]", SCORE),
    "label.flip": ("label.flip=false", SCORE),
    "label.precision": ("label.precision=fp32", SCORE),
    "label.resize": ("label.resize=device", SCORE),
    "label.num_shards": ("label.num_shards=4", LABELS),
    "label.images_per_shard": ("label.images_per_shard=3", JUDGED),  # num_shards is given
    "label.max_failures": ("label.max_failures=3", JUDGED),
    "filter.policy": ("filter.policy=fixed", PSEUDO),
    "filter.tau": ("filter.tau=0.5", PSEUDO),
    "filter.share": ("filter.share=0.5", PSEUDO),
    "filter.share_step": ("filter.share_step=0.2", PSEUDO),
    "filter.share_max": ("filter.share_max=0.85", PSEUDO),
    "filter.min_tau": ("filter.min_tau=0.2", PSEUDO),
    "filter.target_precision": ("filter.target_precision=0.8", PSEUDO),
    "filter.min_component_px": ("filter.min_component_px=5", PSEUDO),
    "filter.min_component_score": ("filter.min_component_score=0.3", PSEUDO),
    "filter.reliability": ("filter.reliability=checkpoints", PSEUDO),  # with reliable_share < 1: STUDENT
    "filter.reliable_share": ("filter.reliable_share=0.5", PSEUDO),
    "filter.reliable_step": ("filter.reliable_step=0.25", PSEUDO),
    "filter.boundary_px": ("filter.boundary_px=1", PSEUDO),
    "alarms.vanished.action": ("alarms.vanished.action=stop", CARD),
    "alarms.vanished.limit": ("alarms.vanished.limit=0.123", CARD),
    "alarms.exploded.action": ("alarms.exploded.action=stop", CARD),
    "alarms.exploded.limit": ("alarms.exploded.limit=0.123", CARD),
    "alarms.churn.action": ("alarms.churn.action=stop", CARD),
    "alarms.churn.limit": ("alarms.churn.limit=0.123", CARD),
    "alarms.drift.action": ("alarms.drift.action=stop", CARD),
    "alarms.drift.limit": ("alarms.drift.limit=0.123", CARD),
    "alarms.calibration.action": ("alarms.calibration.action=stop", CARD),
    "alarms.calibration.limit": ("alarms.calibration.limit=0.123", CARD),
    "alarms.confidence.action": ("alarms.confidence.action=stop", CARD),
    "alarms.confidence.limit": ("alarms.confidence.limit=0.123", CARD),
    "alarms.shift.action": ("alarms.shift.action=stop", CARD),
    "alarms.shift.limit": ("alarms.shift.limit=0.123", CARD),
    "alarms.raised_share": ("alarms.raised_share=0.4", CARD),
    "loop.rounds": ("loop.rounds=3", NEXT_ROUND),
    "loop.patience": ("loop.patience=8", JUDGED),
    "loop.seed": ("loop.seed=3", STUDENT),
    "loop.max_hours": ("loop.max_hours=5", JUDGED),
    "loop.gate_level": ("loop.gate_level=0.1", JUDGED),
    "loop.gate_resamples": ("loop.gate_resamples=200", JUDGED),
    "loop.class_harm": ("loop.class_harm=reject", JUDGED),
    "loop.require_approval": ("loop.require_approval=true", FREE),
    "loop.control": ("loop.control=true", CONTROL),
    "loop.final_refit": ("loop.final_refit=true", REFIT),
    "outputs.submission_size": ("outputs.submission_size=[16, 16]", LABELS),
    "outputs.index_png": ("outputs.index_png=false", JUDGED),
    "runtime.artifacts": ("runtime.artifacts={root}/elsewhere", FREE),
    "runtime.device": ("runtime.device=auto", FREE),
    "runtime.grace_s": ("runtime.grace_s=5", FREE),
    "runtime.log_every": ("runtime.log_every=7", FREE),
    "runtime.stall_minutes": ("runtime.stall_minutes=99", FREE),
    "runtime.max_resumes": ("runtime.max_resumes=9", FREE),
    "runtime.min_free_gb": ("runtime.min_free_gb=0.2", FREE),
}


def leaf_fields(model: type[BaseModel], place: str = "") -> Iterator[str]:
    """Yield the dotted names of all fields that are no sections."""
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is None:
            yield place + name
        else:
            yield from leaf_fields(section, f"{place}{name}.")


@pytest.fixture(scope="module")
def root(finished: Path) -> Path:
    """Return the folder of a finished run, with what the changes refer to beside it."""
    shutil.copytree(finished / "data", finished / "moved")
    (finished / "given.pth").write_bytes(b"weights")
    (finished / "given.py").write_text("model = dict()\n")
    return finished


def test_every_field_of_the_config_is_in_the_table() -> None:
    assert sorted(TABLE) == sorted(leaf_fields(RunConfig))


@pytest.mark.parametrize("field", TABLE)
def test_a_changed_field_leaves_the_steps_before_it_alone_and_is_named_and_refused_without_update(
    root: Path, stub_programs: None, field: str
) -> None:
    change, expected = TABLE[field]
    override = change.format(root=root)
    run_dir = root / "artifacts" / "tiny"
    plan = plan_run(load_config(root / "tiny.yaml", (*SMALL, override)), run_dir)
    redone = [step.place for step in plan.steps if step.verdict not in ("reuse", "again")]
    assert (redone[0] if redone else None) == (None if expected in (FREE, JUDGED) else expected)
    named = [name.partition(":")[0] for name in plan.changes]
    if expected == FREE:
        assert named == []
        return
    section = override.partition("=")[0]
    assert any(name.startswith((field, section)) for name in named)
    num_before = len(list(read_events(run_dir)))
    with pytest.raises(RunChangedError, match=rf"{named[0]}: .*\n(.*\n)*.*--update"):
        walk(root / "tiny.yaml", (*SMALL, override), run_id="tiny")
    assert len(list(read_events(run_dir))) == num_before


@pytest.mark.parametrize("field", ["filter.share", "loop.gate_level", "label.flip", "data.test.images"])
def test_with_update_exactly_what_was_planned_first_is_done_first(root: Path, finished_copy: str, field: str) -> None:
    change, expected = TABLE[field]
    run_dir = root / "artifacts" / finished_copy
    num_before = len(list(read_events(run_dir)))
    walk(root / "tiny.yaml", (*SMALL, change.format(root=root)), update=True, run_id=finished_copy)
    made = [event["place"] for event in list(read_events(run_dir))[num_before:] if event["event"] == "step_done"]
    assert (made[0] if made else JUDGED) == expected
