"""The fold ensemble: the winners of the chains label the pool together, and pseudo-labels are made of that."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcore.process.jobs import PredictJob, TeacherFiles
from segcore.process.labellers import labellers
from segcore.pseudo.build import PseudoLabelSpec, build_pseudo_labels
from segcore.pseudo.histograms import read_calib_histogram
from segcore.pseudo.thresholds import share_of_round
from segcore.records import LABELLED_ROLES, POOL_ROLES, ImageRecord
from segcore.steps.chains import Chain
from segcore.steps.ensemble_files import earlier_teachers, teachers_of
from segcore.steps.index import class_map_of, index_path, pool_of, summary_of
from segcore.steps.label import (
    PREDICTIONS,
    Division,
    LabelledShard,
    Prediction,
    divided,
    labeller_spec,
    predict_by,
    prediction_inputs,
)
from segcore.steps.label import VERSION as LABEL_VERSION
from segcore.steps.out_of_fold import HISTOGRAM, OutOfFold
from segcore.steps.pseudo_labels import FILTER_VERSION, pool_choice, pseudo_labels_of, wanted_of_filter
from segcore.steps.run import Run, ensure_step
from segcore.steps.train import PseudoLabels
from segcore.store.canonical import digest_of
from segcore.store.events import append_event
from segcore.store.layout import ensemble_labels_place, ensemble_shard_place
from segcore.store.steps import Step

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EnsembleSpec:
    """An ensemble at work. run: where its labels are published. members: its chains, two or more."""

    run: Run
    members: tuple[Chain, ...]


@dataclass(frozen=True)
class EnsembleShard:
    """One shard for the ensemble to label."""

    ensemble: EnsembleSpec
    shard_index: int


def members_of(chains: tuple[Chain, ...], found: OutOfFold) -> tuple[Chain, ...]:
    """Return the chains whose winners are members."""
    kept = {member.fold_index for member in found.members if member.kept}
    return tuple(chain for chain in chains if chain.fold_index in kept)


def ensemble_images(spec: EnsembleSpec) -> dict[int, tuple[ImageRecord, ...]]:
    """Return the pool by shard, and every test image, since a submission covers them. All chains have the same."""
    first, label = spec.members[0], spec.run.config.label
    division = Division(spec.run.config.pool, True, label.num_shards, label.images_per_shard, calib=False)
    return divided(str(index_path(first.run, first.index)), division)


def ensemble_shards(spec: EnsembleSpec) -> tuple[EnsembleShard, ...]:
    """Return one spec a shard."""
    shards = ensemble_images(spec)
    num_images = sum(len(images) for images in shards.values())
    logger.info("folds/labels: %d models label %d images in %d shards", len(spec.members), num_images, len(shards))
    return tuple(EnsembleShard(spec, shard) for shard in shards)


def shard_step(spec: EnsembleShard) -> Step:
    """Return the label step of a shard: what each member's would be, together."""
    images = ensemble_images(spec.ensemble)[spec.shard_index]
    first, *others = (prediction_inputs(chain.run, chain.student, images) for chain in spec.ensemble.members)
    teachers = [[member["weights"], member["model_config"]] for member in (first, *others)]
    inputs = {"teachers": teachers, "views": first["views"], "images": first["images"]}
    earlier = [member.get("earlier", []) for member in (first, *others)]
    if any(earlier):
        inputs["earlier"] = earlier
    return Step("label", LABEL_VERSION, ensemble_shard_place(spec.shard_index), inputs, shared=True)


def label_shard(spec: EnsembleShard) -> LabelledShard:
    """Have all members label a shard, probabilities averaged, or reuse it."""
    run, step = spec.ensemble.run, shard_step(spec)
    images = ensemble_images(spec.ensemble)[spec.shard_index]
    log_path = run.layout.log_file(step)
    published = ensure_step(run, step, lambda work: predict(spec.ensemble, Prediction(images, work, log_path)))
    value: Any = published.value
    for item in value["quarantined"]:
        logger.warning("quarantined %s: %s", item["image_id"], item["reason"])
        append_event(run.path, "quarantined", place=step.place, **item)
    return LabelledShard(published.output(run.path), spec.shard_index, value["num_images"], len(value["quarantined"]))


def teachers(spec: EnsembleSpec) -> tuple[TeacherFiles, ...]:
    """Return the models that label: each chain's winner has the same share, which its members divide if it has some."""
    return tuple(files for chain in spec.members for files in teachers_of(chain.run, chain.student))


def predict(spec: EnsembleSpec, what: Prediction) -> dict[str, Any]:
    """Have a labelling process with all members predict images; return counts and quarantined images."""
    run, first = spec.run, spec.members[0]
    job = PredictJob(
        teachers=teachers(spec),
        num_classes=class_map_of(first.run, first.index).num_classes,
        label=run.config.label,
        device=run.config.runtime.device,
        max_megapixels=run.config.data.max_megapixels,
        expected_images=sum(len(images) for images in ensemble_images(spec).values()),
        earlier=tuple(files for chain in spec.members for files in earlier_teachers(chain.run, chain.student)),
    )
    return predict_by(run, labellers.get(labeller_spec(run, job, what.log_path)), what)


def filter_step(spec: EnsembleSpec, shards: tuple[LabelledShard, ...], found: OutOfFold) -> Step:
    """Return the filter step: predictions, out-of-fold histogram, the filter's config and the class list."""
    first, config = spec.members[0], spec.run.config.filter
    classes, threshold_round = class_map_of(first.run, first.index), round_of(spec)
    inputs = {
        "shards": [shard.output.digest for shard in shards],
        "out_of_fold": found.output.digest,
        "pool": [first.index.digests[role] for role in POOL_ROLES],
        "chosen": pool_choice(spec.run.config),
        "filter": config.model_dump(mode="json"),
        "share": share_of_round(config, threshold_round),
        "round": threshold_round,
        "classes": [list(classes.names), list(classes.category_ids)],
        "teacher": teacher_digest(spec),
        **wanted_of_filter(spec.run.config),
    }
    return Step("filter", FILTER_VERSION, ensemble_labels_place(), inputs)


def filter_labels(spec: EnsembleSpec, shards: tuple[LabelledShard, ...], found: OutOfFold) -> PseudoLabels:
    """Turn the ensemble's predictions into pseudo-labels, or reuse them."""
    run = spec.run
    published = ensure_step(run, filter_step(spec, shards, found), lambda work: build(spec, shards, found, work))
    return pseudo_labels_of(run, published)


def build(spec: EnsembleSpec, shards: tuple[LabelledShard, ...], found: OutOfFold, work: Path) -> dict[str, Any]:
    """Write label maps, COCO file, thresholds and quality card."""
    run, first = spec.run, spec.members[0]
    counted = summary_of(first.run, first.index)["class_pixels"]
    pixels = [
        sum(column) for column in zip(*(counted[role] for role in LABELLED_ROLES if role in counted), strict=True)
    ]
    return build_pseudo_labels(
        PseudoLabelSpec(
            predictions=tuple(run.path / shard.output.path / PREDICTIONS for shard in shards),
            images=pool_of(first.run, first.index),
            class_map=class_map_of(first.run, first.index),
            filter=run.config.filter,
            teacher=teacher_digest(spec),
            round_index=round_of(spec),
            truth_share=tuple(count / max(1, sum(pixels)) for count in pixels),
            previous=None,
            calib=read_calib_histogram(run.path / found.output.path / HISTOGRAM),
            **wanted_of_filter(run.config),
        ),
        work,
    )


def round_of(spec: EnsembleSpec) -> int:
    """Return the round whose thresholds the ensemble's labels get: the latest that a member's teacher labelled for."""
    return max(1, *(chain.winner_index for chain in spec.members))


def teacher_digest(spec: EnsembleSpec) -> str:
    """Return what names the ensemble in lineage: a hash of its members' weights."""
    return digest_of([chain.student.digest for chain in spec.members])
