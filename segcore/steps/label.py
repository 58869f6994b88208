"""The label step: raw predictions of one shard of images; kept as they are, so that thresholds can change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from segcore.config.data_schema import PoolConfig
from segcore.data.roles import pool_images
from segcore.process.jobs import PredictImage, PredictJob
from segcore.process.labeller import LabellerSpec
from segcore.process.labellers import Crew, labellers
from segcore.pseudo.shards import num_shards_for, plan_shards
from segcore.records import Checkpoint, ImageRecord, StepOutput
from segcore.steps.ensemble_files import earlier_teachers, teachers_of
from segcore.steps.index import Index, cached_images, class_map_of, image_path, index_path
from segcore.steps.labelling_tally import LabellingTally, labelling_tally
from segcore.steps.run import Run, cancelled, ensure_step, lock_descriptors
from segcore.store.canonical import file_sha256
from segcore.store.events import append_event
from segcore.store.layout import labels_place, shard_place
from segcore.store.steps import Step

logger = logging.getLogger(__name__)

VERSION = 4  # 2: predictions come with their histograms; 3: agreement of views; 4: of checkpoints
PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class LabelSpec:
    """One shard to label. round_index: None for the final labelling by the winner."""

    run: Run
    index: Index
    teacher: Checkpoint
    round_index: int | None
    shard_index: int


@dataclass(frozen=True)
class LabelledShard:
    """A shard's published predictions. num_quarantined: images that could not be labelled."""

    output: StepOutput
    shard_index: int
    num_images: int
    num_quarantined: int


def shards_of(run: Run, index: Index, final: bool) -> dict[int, tuple[ImageRecord, ...]]:
    """Return the images of every shard: the pool, and calib to tell confidence from being right.

    final: all test images too, whether or not the pool may use them, since a submission covers them.
    """
    label = run.config.label
    division = Division(run.config.pool, final, label.num_shards, label.images_per_shard)
    return divided(str(index_path(run, index)), division)


@dataclass(frozen=True)
class Division:
    """How images are divided into shards, besides the images. calib: with the images that calibrate a teacher."""

    pool: PoolConfig
    final: bool
    num_shards: int | None
    images_per_shard: int
    calib: bool = True


@lru_cache(maxsize=4)
def divided(folder: str, division: Division) -> dict[int, tuple[ImageRecord, ...]]:
    """Return the shards of a published index, which never changes; each of its shards asks for them."""
    everything = cached_images(folder)
    calib = [image for image in everything if division.calib and image.role == "calib"]
    test = [image for image in everything if division.final and image.source == "test"]
    chosen = (*pool_images(everything, division.pool), *calib, *test)
    images = {image.image_id: image for image in chosen}
    num_shards = division.num_shards or num_shards_for(len(images), division.images_per_shard)
    return {
        shard: tuple(images[image_id] for image_id in members)
        for shard, members in plan_shards(images, num_shards).items()
    }


def label_specs(run: Run, index: Index, teacher: Checkpoint, round_index: int | None) -> tuple[LabelSpec, ...]:
    """Return one spec a shard."""
    return tuple(
        LabelSpec(run, index, teacher, round_index, shard) for shard in shards_of(run, index, round_index is None)
    )


def label_step(spec: LabelSpec) -> Step:
    """Return the label step of a shard: weights, views and image contents. Thresholds are no part of it."""
    images = shards_of(spec.run, spec.index, spec.round_index is None)[spec.shard_index]
    place = shard_place(spec.round_index, spec.shard_index)
    return Step("label", VERSION, place, prediction_inputs(spec.run, spec.teacher, images), shared=True)


def prediction_inputs(run: Run, checkpoint: Checkpoint, images: Sequence[ImageRecord]) -> dict[str, Any]:
    """Return everything that decides what a checkpoint predicts on images."""
    views = run.config.label.model_dump(mode="json", include={"sizes", "flip", "precision", "resize"})
    earlier = {"earlier": list(checkpoint.earlier)} if checkpoint.earlier else {}
    return {
        **earlier,
        "weights": checkpoint.digest,
        "model_config": file_sha256(run.path / checkpoint.config),
        "views": views,
        "images": [[image.image_id, image.sha256, small_size(run, image)] for image in images],
    }


def small_size(run: Run, image: ImageRecord) -> tuple[int, int] | None:
    """Return the size of the extra label map a submission needs of this image."""
    return run.config.outputs.submission_size if image.source == "test" else None


def label_shard(spec: LabelSpec) -> LabelledShard:
    """Label a shard, or reuse it from any round with the same weights."""
    step = label_step(spec)
    images = shards_of(spec.run, spec.index, spec.round_index is None)[spec.shard_index]
    log_path, tally = spec.run.layout.log_file(step), tally_of(spec)
    on_progress = partial(tally.progressed, spec.shard_index)
    published = ensure_step(
        spec.run,
        step,
        lambda work: predict(spec.run, spec.index, spec.teacher, Prediction(images, work, log_path, on_progress)),
    )
    tally.finished(spec.shard_index, published.reused)
    value: Any = published.value
    for item in value["quarantined"]:
        logger.warning("quarantined %s: %s", item["image_id"], item["reason"])
        append_event(spec.run.path, "quarantined", place=step.place, **item)
    output = published.output(spec.run.path)
    return LabelledShard(output, spec.shard_index, value["num_images"], len(value["quarantined"]))


def tally_of(spec: LabelSpec) -> LabellingTally:
    """Return the tally of the labelling a shard is part of."""
    shards = shards_of(spec.run, spec.index, spec.round_index is None)
    sizes = {shard_index: len(images) for shard_index, images in shards.items()}
    return labelling_tally(spec.run.folder, labels_place(spec.round_index), sizes)


@dataclass(frozen=True)
class Prediction:
    """What to predict and where the file goes. on_progress: told how many images are done. vote_px: as PredictImage."""

    images: Sequence[ImageRecord]
    work: Path
    log_path: Path
    on_progress: Callable[[int], None] | None = None
    vote_px: int | None = None


def predict(run: Run, index: Index, checkpoint: Checkpoint, what: Prediction) -> dict[str, Any]:
    """Have the labelling process predict images into predictions.parquet; return counts and quarantined images."""
    return predict_by(run, labeller_for(run, index, checkpoint, what.log_path), what)


def predict_by(run: Run, labeller: Crew, what: Prediction) -> dict[str, Any]:
    """Have labelling processes predict images into predictions.parquet; return counts and quarantined images."""
    images = [PredictImage(i.image_id, str(image_path(run, i)), small_size(run, i), what.vote_px) for i in what.images]
    done = labeller.predict(images, what.work / PREDICTIONS, what.on_progress)
    return {
        "num_images": len(images) - len(done),
        "quarantined": [{"image_id": item.image_id, "reason": item.reason} for item in done],
    }


def labeller_for(run: Run, index: Index, checkpoint: Checkpoint, log_path: Path) -> Crew:
    """Return the long-lived processes that hold this checkpoint; started on first use, shared by all shards."""
    job = PredictJob(
        teachers=teachers_of(run, checkpoint),
        num_classes=class_map_of(run, index).num_classes,
        label=run.config.label,
        device=run.config.runtime.device,
        max_megapixels=run.config.data.max_megapixels,
        expected_images=sum(len(images) for images in shards_of(run, index, final=False).values()),
        earlier=earlier_teachers(run, checkpoint),
    )
    return labellers.get(labeller_spec(run, job, log_path))


def labeller_spec(run: Run, job: PredictJob, log_path: Path) -> LabellerSpec:
    """Return how a run's labelling processes are run and watched."""
    return LabellerSpec(
        job=job,
        log_path=log_path,
        pass_fds=lock_descriptors(run),
        grace_s=run.config.runtime.grace_s,
        stall_s=run.config.runtime.stall_minutes * 60,
        max_failures=run.config.label.max_failures,
        cancelled=lambda: cancelled(run),
    )
