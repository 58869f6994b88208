"""The train step: one student, in a child process of its own, that resumes where it was stopped."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcore.config.model_schema import NetworkConfig
from segcore.config.schema import RunConfig
from segcore.config.student_schema import StudentConfig
from segcore.config.train_schema import TrainConfig
from segcore.data.label_maps import LabelMaps
from segcore.process.jobs import Sample, TrainJob, write_train_job
from segcore.process.training import TrainingOptions, run_training
from segcore.pseudo.build import CONFIDENCE, LABEL_MAPS
from segcore.records import POOL_ROLES, Checkpoint, ImageRecord, Role, StepOutput
from segcore.steps.earlier import earlier_digests, earlier_iterations
from segcore.steps.index import Index, class_map_of, ground_truth_path, image_path, images_of, pool_of
from segcore.steps.round_models import model_inputs, model_of, model_spec
from segcore.steps.run import Run, cancelled, ensure_step, lock_descriptors
from segcore.store.canonical import digest_of, file_sha256
from segcore.store.disk import require_free_space
from segcore.store.events import append_event
from segcore.store.publish import Published
from segcore.store.steps import Step
from segcore.trust.lineage import Lineage, extend, merge
from segcore.trust.loop_policy import member_seed

logger = logging.getLogger(__name__)

# 2: the preset starts with wider classifier weights; 3: student, loss, new augmentation and sampling;
# 4: what nobody annotated is never pasted
VERSION = 4
WEIGHTS, MODEL_CONFIG, LINEAGE = "model.pth", "model_config.py", "lineage.json"
NO_INFLUENCE = {"gpus", "workers", "checkpoint_every", "keep_checkpoints", "iterations", "round_iterations"}


@dataclass(frozen=True)
class PseudoLabels:
    """Published pseudo-labels. num_images: labelled pool images. maps_digest: sha256 of the label maps file.

    confidence_digest: of the file with the teacher's confidence; None where training does not ask for it.
    """

    output: StepOutput
    num_images: int
    maps_digest: str
    confidence_digest: str | None = None


@dataclass(frozen=True)
class TrainSpec:
    """One student. pseudo_labels, teacher: None when it learns from GT alone. place: where it is published.

    labelled_roles: whose ground truth it learns from; more than train only after the loop (segcore/steps/refit.py).
    member: which of the ensemble's models it is; 0: model itself, the only one without ensemble.members.
    start: whose weights it begins with (starting_point); None: model.weights.
    """

    run: Run
    index: Index
    round_index: int
    pseudo_labels: PseudoLabels | None
    teacher: Checkpoint | None
    place: str
    labelled_roles: tuple[Role, ...] = ("train",)
    member: int = 0
    start: Checkpoint | None = None

    @property
    def network(self) -> NetworkConfig:
        """Return the network that is trained."""
        return model_of(self.run.config, self.round_index, self.member)

    @property
    def earlier_at(self) -> tuple[int, ...]:
        """Return after which iterations the weights are kept too; control and refit label nothing and keep none."""
        if self.labelled_roles != ("train",) or (self.round_index > 0 and self.teacher is None):
            return ()
        config = self.run.config
        return earlier_iterations(config, self.round_index, iterations_of(config, self.round_index))

    @property
    def seed(self) -> int:
        """Return the seed of the training."""
        return member_seed(self.run.config.loop.seed, self.round_index, self.member)


@dataclass(frozen=True)
class Student:
    """A trained student and the step it came from."""

    checkpoint: Checkpoint
    output: StepOutput


def iterations_of(config: RunConfig, round_index: int) -> int:
    """Return how long the student of a round is trained."""
    later = config.train.round_iterations
    return later if round_index > 0 and later is not None else config.train.iterations


def schedule_of(spec: TrainSpec) -> TrainConfig:
    """Return how a student is trained, its learning rate among it; for its length see iterations_of."""
    train = spec.run.config.train
    lr = train.round_lr if spec.round_index > 0 and train.round_lr is not None else train.lr
    schedule = train.model_copy(update={"lr": lr, "round_lr": None})
    return schedule if spec.pseudo_labels is not None else without_pseudo_labels(schedule)


def without_pseudo_labels(train: TrainConfig) -> TrainConfig:
    """Return a schedule with what draws and augments pseudo-labelled samples alone as it is by default.

    So a student without any is the same whatever the later rounds do with theirs, and need not be trained again. The
    loss stays as it is: a head that cannot weigh pixels is to be refused before round 0, not after it.
    """
    plain = TrainConfig(iterations=train.iterations)
    own = {
        "pseudo_share": plain.pseudo_share,
        "gt_only_last": plain.gt_only_last,
        "augment": train.augment.model_copy(update={"strong": plain.augment.strong}),
    }
    return train.model_copy(update=own)


def recipe_of(config: RunConfig) -> StudentConfig:
    """Return what the training program must know of the student; where it starts and grows is settled before."""
    return config.student.model_copy(update={"start": "fresh", "growing": ()})


def starting_point(run: Run, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """Return the checkpoint that a later round's student begins with if student.start asks for one, else None."""
    return checkpoint if run.config.student.start == "teacher" else None


def train_step(spec: TrainSpec) -> Step:
    """Return the train step: model, schedule, seed and content hashes; no paths, workers or device."""
    config, index = spec.run.config, spec.index
    pseudo = spec.pseudo_labels
    inputs: dict[str, Any] = {
        "model": model_inputs(spec.network),
        "classes": [list(pair) for pair in zip(*class_lists(spec), strict=True)],
        "train": schedule_of(spec).model_dump(mode="json", exclude=NO_INFLUENCE),
        "student": recipe_of(config).model_dump(mode="json", exclude={"start", "growing"}),
        "start": None if spec.start is None else spec.start.digest,
        "iterations": iterations_of(config, spec.round_index),
        "seed": spec.seed,
        "ground_truth": ground_truth_digests(spec),
        "pseudo_labels": None if pseudo is None else pseudo.maps_digest,
        "pool": None if pseudo is None else [index.digests[role] for role in POOL_ROLES],
        "unlabelled": pool_digest(unlabelled_images(spec)),
    }
    if pseudo is not None and pseudo.confidence_digest is not None:
        inputs["pseudo_confidence"] = pseudo.confidence_digest
    if spec.earlier_at:
        inputs["earlier"] = list(spec.earlier_at)
    return Step("train", VERSION, spec.place, inputs)


def pool_digest(images: tuple[ImageRecord, ...]) -> str | None:
    """Return the content hash of pool images that are learnt from without labels; None where there are none."""
    return digest_of(sorted([image.image_id, image.sha256] for image in images)) if images else None


def ground_truth_digests(spec: TrainSpec) -> str | list[str]:
    """Return the content hash of the labelled images; a list where they are of several roles."""
    digests = [spec.index.digests[role] for role in spec.labelled_roles]
    return digests[0] if len(digests) == 1 else digests


def class_lists(spec: TrainSpec) -> tuple[list[str], list[list[int]]]:
    """Return names and palette of the classes."""
    classes = class_map_of(spec.run, spec.index)
    return list(classes.names), [list(colour) for colour in classes.palette]


def train(spec: TrainSpec) -> Student:
    """Train a student, or reuse it."""
    run = spec.run
    require_free_space(run.path, run.config.runtime.min_free_gb)
    step = train_step(spec)
    published = ensure_step(run, step, lambda work: build(spec, step, work))
    return student_of(run, published)


def student_of(run: Run, published: Published) -> Student:
    """Return a published training or import as a student."""
    folder = run.layout.relative(published.path)
    weights, config, lineage = (f"{folder}/{name}" for name in (WEIGHTS, MODEL_CONFIG, LINEAGE))
    value: Any = published.value
    earlier = tuple(value.get("earlier_sha256", ()))
    checkpoint = Checkpoint(weights, value["weights_sha256"], config, lineage, earlier)
    return Student(checkpoint, published.output(run.path))


def build(spec: TrainSpec, step: Step, work: Path) -> dict[str, Any]:
    """Run the training program; write weights, model config and lineage."""
    run, resume_dir = spec.run, spec.run.layout.resume_dir(step)
    resume_dir.mkdir(parents=True, exist_ok=True)
    pseudo = pseudo_images(spec)
    job = train_job(spec, pseudo, resume_dir, work)
    what = f"{len(job.ground_truth)} labelled" + (f" + {len(pseudo)} pseudo-labelled" if pseudo else "")
    logger.info("%s: train on %s images, %d iterations", spec.place, what, job.iterations)
    job_path = resume_dir / "job.json"
    write_train_job(job_path, job)
    run_training(job_path, job, run.layout.log_file(step), training_options(run, step))
    student_lineage(spec, pseudo).write(work / LINEAGE)
    value = {"weights_sha256": file_sha256(work / WEIGHTS), "iterations": job.iterations, "num_pseudo": len(pseudo)}
    return value | ({"earlier_sha256": earlier_digests(work)} if job.earlier_at else {})


def training_options(run: Run, step: Step) -> TrainingOptions:
    """Return how a step's child process is run, watched and resumed."""
    runtime = run.config.runtime
    return TrainingOptions(
        place=step.place,
        pass_fds=lock_descriptors(run),
        grace_s=runtime.grace_s,
        cancelled=lambda: cancelled(run),
        stall_s=runtime.stall_minutes * 60,
        max_resumes=runtime.max_resumes,
        on_resume=lambda reason, iteration: note_resume(run, step, reason, iteration),
    )


def note_resume(run: Run, step: Step, reason: str, iteration: int) -> None:
    """Note in events.jsonl that a training is started again and why."""
    append_event(run.path, "resumed", place=step.place, reason=reason[:2000], iteration=iteration)


def train_job(spec: TrainSpec, pseudo: tuple[ImageRecord, ...], resume_dir: Path, work: Path) -> TrainJob:
    """Return the job file's contents."""
    run, config = spec.run, spec.run.config
    classes = class_map_of(run, spec.index)
    return TrainJob(
        model=model_spec(spec.network, classes),
        train=schedule_of(spec),
        iterations=iterations_of(config, spec.round_index),
        seed=spec.seed,
        ground_truth=samples(run, images_of(run, spec.index, *spec.labelled_roles)),
        ground_truth_maps=str(ground_truth_path(run, spec.index)),
        pseudo=samples(run, pseudo),
        pseudo_maps=None if spec.pseudo_labels is None else str(pseudo_maps(spec)),
        pseudo_confidence=pseudo_confidence(spec),
        unlabelled=samples(run, unlabelled_images(spec)),
        student=recipe_of(config),
        init_weights=None if spec.start is None else str(run.path / spec.start.path),
        resume_dir=str(resume_dir),
        out_dir=str(work),
        device=config.runtime.device,
        log_every=config.runtime.log_every,
        earlier_at=spec.earlier_at,
        unannotated_class=config.data.unannotated_class,
    )


def samples(run: Run, images: tuple[ImageRecord, ...]) -> tuple[Sample, ...]:
    """Return images as the training program wants them."""
    return tuple(Sample(image.image_id, str(image_path(run, image))) for image in images)


def pseudo_maps(spec: TrainSpec) -> Path:
    """Return the label maps file of the spec's pseudo-labels."""
    assert spec.pseudo_labels is not None, "only with pseudo-labels"
    return spec.run.path / spec.pseudo_labels.output.path / LABEL_MAPS


def pseudo_confidence(spec: TrainSpec) -> str | None:
    """Return the file with the teacher's confidence in the spec's pseudo-labels; None where there is none."""
    labels = spec.pseudo_labels
    if labels is None or labels.confidence_digest is None:
        return None
    return str(spec.run.path / labels.output.path / CONFIDENCE)


def pseudo_images(spec: TrainSpec) -> tuple[ImageRecord, ...]:
    """Return the pool images that have a pseudo-label with at least one kept pixel."""
    if spec.pseudo_labels is None:
        return ()
    maps = LabelMaps(pseudo_maps(spec))
    pool = pool_of(spec.run, spec.index)
    kept = tuple(image for image in pool if image.image_id in maps and (maps[image.image_id] != 255).any())
    maps.close()
    return kept


def unlabelled_images(spec: TrainSpec) -> tuple[ImageRecord, ...]:
    """Return the pool images of consistency training: all that may be pseudo-labelled; none where it is off."""
    return () if spec.run.config.student.consistency is None else pool_of(spec.run, spec.index)


def student_lineage(spec: TrainSpec, pseudo: tuple[ImageRecord, ...]) -> Lineage:
    """Return every image the student or an ancestor has learnt from."""
    run, teacher = spec.run, spec.teacher
    parent = None if teacher is None else Lineage.read(run.path / teacher.lineage)
    digest = None if teacher is None else teacher.digest
    used = {*pseudo, *unlabelled_images(spec)}
    lineage = extend(parent, images_of(run, spec.index, *spec.labelled_roles), used, digest)
    if spec.start is None or spec.start == teacher:
        return lineage
    return merge(lineage, extend(Lineage.read(run.path / spec.start.lineage), (), (), spec.start.digest))


def wants_control(run: Run, winner_index: int) -> bool:
    """Return whether to train a GT-only student: asked for, and the winner is not one itself."""
    return run.config.loop.control and winner_index > 0
