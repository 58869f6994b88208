"""The calibrate and filter steps: from raw predictions to pseudo-labels, in seconds and without a model."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcore.config.schema import RunConfig
from segcore.data.label_maps import LabelMaps
from segcore.pseudo.build import CONFIDENCE, LABEL_MAPS, PseudoLabelSpec, build_pseudo_labels, write_json
from segcore.pseudo.histograms import read_calib_histogram, write_calib_histogram
from segcore.pseudo.predictions import read_predictions
from segcore.pseudo.thresholds import share_of_round
from segcore.records import POOL_ROLES, Checkpoint, RoundRecord, StepOutput
from segcore.steps.index import Index, class_map_of, ground_truth_path, images_of, pool_of, summary_of
from segcore.steps.label import PREDICTIONS, LabelledShard
from segcore.steps.run import Run, ensure_step
from segcore.steps.train import PseudoLabels
from segcore.store.layout import calibration_place, pseudo_labels_place
from segcore.store.manifest import read_manifest
from segcore.store.publish import Published
from segcore.store.steps import Step
from segcore.trust.calibration import calibration_card

logger = logging.getLogger(__name__)

CALIBRATE_VERSION = 2  # 2: calibration.json
FILTER_VERSION = 3  # 2: annotations in the order of their first pixels, column by column; 3: min_tau gives way
CALIB_HISTOGRAM = "calib_histogram.parquet"
CALIBRATION = "calibration.json"
CALIBRATION_SEED = 0  # of the resamples behind intervals; the step's key holds none


@dataclass(frozen=True)
class FilterSpec:
    """What to filter. round_index: None for the final labelling. previous: pseudo-labels of the round before."""

    run: Run
    index: Index
    teacher: Checkpoint
    round_index: int | None
    threshold_round: int
    shards: tuple[LabelledShard, ...]
    previous: StepOutput | None


def filter_spec(
    run: Run,
    index: Index,
    history: tuple[RoundRecord, ...],
    teacher: Checkpoint,
    shards: tuple[LabelledShard, ...],
    final: bool = False,
) -> FilterSpec:
    """Return what to filter after the rounds in history; final: for outputs/, with the last round's thresholds."""
    latest = history[-1].pseudo_labels
    round_index = len(history)
    threshold_round = max(1, round_index - 1) if final else round_index
    return FilterSpec(run, index, teacher, None if final else round_index, threshold_round, shards, latest)


@dataclass(frozen=True)
class Calibration:
    """Published histogram of confidence and correctness on calib."""

    output: StepOutput
    num_images: int


def calibrate_step(spec: FilterSpec) -> Step:
    """Return the calibrate step: the predictions, and the truth of calib."""
    names = list(class_map_of(spec.run, spec.index).names)
    inputs = {"shards": shard_digests(spec), "calib": spec.index.digests["calib"], "classes": names}
    return Step("calibrate", CALIBRATE_VERSION, calibration_place(spec.round_index), inputs)


def calibrate(spec: FilterSpec) -> Calibration:
    """Count, on calib, how often which confidence is right."""
    run = spec.run
    published = ensure_step(run, calibrate_step(spec), lambda work: build_calibration(spec, work))
    value: Any = published.value
    return Calibration(published.output(run.path), value["num_images"])


def build_calibration(spec: FilterSpec, work: Path) -> dict[str, Any]:
    """Write the calib histogram, and what it says of the teacher's confidence."""
    run, index = spec.run, spec.index
    calib = {image.image_id for image in images_of(run, index, "calib")}
    predictions = itertools.chain.from_iterable(read_predictions(path, calib) for path in prediction_paths(spec))
    truth = LabelMaps(ground_truth_path(run, index))
    names = class_map_of(run, index).names
    num_images = write_calib_histogram(work / CALIB_HISTOGRAM, predictions, truth, len(names))
    truth.close()
    card = calibration_card(read_calib_histogram(work / CALIB_HISTOGRAM), names, CALIBRATION_SEED)
    write_json(work / CALIBRATION, card)
    return {"num_images": num_images}


def filter_step(spec: FilterSpec, calibration: Calibration) -> Step:
    """Return the filter step: predictions, calibration, the filter's config and the class list."""
    run = spec.run
    classes = class_map_of(run, spec.index)
    config = run.config.filter
    inputs = {
        "shards": shard_digests(spec),
        "calibration": calibration.output.digest,
        "pool": [spec.index.digests[role] for role in POOL_ROLES],
        "chosen": pool_choice(run.config),
        "train": spec.index.digests["train"],
        "filter": config.model_dump(mode="json"),
        "share": share_of_round(config, spec.threshold_round),
        "round": spec.threshold_round,
        "classes": [list(classes.names), list(classes.category_ids)],
        "teacher": spec.teacher.digest,
        "previous": None if spec.previous is None else spec.previous.digest,
        **wanted_of_filter(run.config),
    }
    return Step("filter", FILTER_VERSION, pseudo_labels_place(spec.round_index), inputs)


def wanted_of_filter(config: RunConfig) -> dict[str, bool]:
    """Return what the filter writes beyond label maps: the teacher's confidence, where a student's loss asks for it."""
    return {"confidence": True} if config.train.loss.confidence_weighted else {}


def pool_choice(config: RunConfig) -> dict[str, Any]:
    """Return what decides which images of the index are the pool; those of a final labelling are more."""
    return config.pool.model_dump(mode="json", include={"use_test", "max_images"})


def filter_labels(spec: FilterSpec, calibration: Calibration) -> PseudoLabels:
    """Turn predictions into pseudo-labels."""
    run = spec.run
    published = ensure_step(run, filter_step(spec, calibration), lambda work: build(spec, calibration, work))
    value: Any = published.value
    if not published.reused:
        missing = f", {len(value['missing'])} images without a label" if value["missing"] else ""
        if value["unreliable"]:
            missing += f", {len(value['unreliable'])} images left for a later round, the least reliable"
        logger.info(
            "%s: %d images, coverage %.3f (share of pixels that are kept)%s",
            filter_place(spec), value["num_images"], value["coverage"] or 0.0, missing,
        )  # fmt: skip
        for promise, names in value["promises"].items():
            logger.info("%s: %s: %s", filter_place(spec), promise, ", ".join(names))
    return pseudo_labels_of(run, published)


def pseudo_labels_of(run: Run, published: Published) -> PseudoLabels:
    """Return published pseudo-labels as a student learns from them."""
    files = read_manifest(published.path).files
    value: Any = published.value
    confidence = files[CONFIDENCE].sha256 if CONFIDENCE in files else None
    return PseudoLabels(published.output(run.path), value["num_images"], files[LABEL_MAPS].sha256, confidence)


def filter_place(spec: FilterSpec) -> str:
    """Return where the spec's pseudo-labels are published, without key."""
    return pseudo_labels_place(spec.round_index)


def build(spec: FilterSpec, calibration: Calibration, work: Path) -> dict[str, Any]:
    """Write label maps, COCO file, thresholds and quality card."""
    run, index = spec.run, spec.index
    pixels = summary_of(run, index)["class_pixels"]["train"]
    shares = [count / max(1, sum(pixels)) for count in pixels]
    previous = None if spec.previous is None else run.path / spec.previous.path / LABEL_MAPS
    return build_pseudo_labels(
        PseudoLabelSpec(
            predictions=prediction_paths(spec),
            images=pool_of(run, index),
            class_map=class_map_of(run, index),
            filter=run.config.filter,
            teacher=spec.teacher.digest,
            round_index=spec.threshold_round,
            truth_share=tuple(shares),
            previous=previous,
            calib=read_calib_histogram(run.path / calibration.output.path / CALIB_HISTOGRAM),
            **wanted_of_filter(run.config),
        ),
        work,
    )


def prediction_paths(spec: FilterSpec) -> tuple[Path, ...]:
    """Return the prediction files in the order of their shards."""
    ordered = sorted(spec.shards, key=lambda shard: shard.shard_index)
    return tuple(spec.run.path / shard.output.path / PREDICTIONS for shard in ordered)


def shard_digests(spec: FilterSpec) -> list[str]:
    """Return the content hashes of the shards in order."""
    return [shard.output.digest for shard in sorted(spec.shards, key=lambda shard: shard.shard_index)]
