"""The last step of a cross-validation: scores, members, labels to look at and the ensemble's labels, in outputs/."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from segcore.data.label_maps import LabelMaps
from segcore.outputs.folds_report import FoldReport, FoldsReport, SuspectReport, caveats, headline, render_folds
from segcore.outputs.report_data import Overlay
from segcore.outputs.submission import SubmissionSpec
from segcore.pseudo.build import LABEL_MAPS
from segcore.pseudo.predictions import read_predictions
from segcore.steps.chains import Chain
from segcore.steps.index import class_map_of, ground_truth_path, images_of
from segcore.steps.kept_outputs import keep_or_make
from segcore.steps.label import PREDICTIONS, LabelledShard
from segcore.steps.model_files import class_document
from segcore.steps.out_of_fold import SCORES, SUSPICIOUS, OutOfFold, predictions_of
from segcore.steps.outputs import LABEL_FILES, make_submission, place_index_pngs
from segcore.steps.placed_models import place_model
from segcore.steps.report import overlay, transductive
from segcore.steps.run import Run
from segcore.steps.submission import submission_images
from segcore.steps.train import PseudoLabels
from segcore.store.disk import written
from segcore.store.durable import place_file, replace_file, sync_file, sync_folder
from segcore.store.environment import environment

logger = logging.getLogger(__name__)

REPORT, MEMBERS = "cross_validation.html", "members"
NUM_SUSPECTS, NUM_PICTURES = 20, 8


@dataclass(frozen=True)
class FoldsSpec:
    """A finished cross-validation. labels, shards: what the ensemble made of the pool; None and () without a pool."""

    run: Run
    chains: tuple[Chain, ...]
    found: OutOfFold
    labels: PseudoLabels | None
    shards: tuple[LabelledShard, ...]


@dataclass(frozen=True)
class FoldsSummary:
    """What a cross-validation ends with. outputs: absolute folder. members: folds whose models are the ensemble."""

    run_id: str
    outputs: str
    num_folds: int
    members: tuple[int, ...]
    miou: float
    headline: str
    caveats: tuple[str, ...]


def publish_folds(spec: FoldsSpec) -> FoldsSummary:
    """Fill outputs/ of a cross-validation part by part, each replaced whole."""
    folder = spec.run.layout.outputs_dir
    report = report_of(spec)
    with written("outputs"):
        folder.mkdir(parents=True, exist_ok=True)
        source = spec.run.path / spec.found.output.path
        for name in (SCORES, SUSPICIOUS):
            place_file(source / name, folder / name)
        place_members(spec, folder / MEMBERS)
        if spec.labels is not None:
            place_labels(spec, spec.labels, folder)
        place_submission(spec, folder)
        place_report(report, folder / REPORT)
        sync_folder(folder)
        replace_file(spec.run.layout.folds_file, json.dumps(made_of(spec), indent=1).encode("ascii"))
    logger.info("%s", headline(report))
    logger.info("outputs of %d folds: %s", len(spec.chains), folder)
    members = tuple(member.fold_index for member in spec.found.members if member.kept)
    miou = spec.found.score.miou.point
    return FoldsSummary(
        spec.run.run_id, str(folder), len(spec.chains), members, miou, headline(report), tuple(caveats(report))
    )


def made_of(spec: FoldsSpec) -> dict[str, Any]:
    """Return the contents of folds.json: the chains, and the steps in this folder that outputs/ are made of."""
    labels = [] if spec.labels is None else [spec.labels.output.path]
    return {
        "chains": [chain.run.run_id for chain in spec.chains],
        "steps": [spec.found.output.path, *(shard.output.path for shard in spec.shards), *labels],
    }


def place_members(spec: FoldsSpec, folder: Path) -> None:
    """Place the models of the ensemble, each in a folder of its own; those that are no members go."""
    kept = {f"fold_{member.fold_index}" for member in spec.found.members if member.kept}
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        if old.name not in kept:
            shutil.rmtree(old)
    for chain in spec.chains:
        own = folder / f"fold_{chain.fold_index}"
        if own.name in kept:
            own.mkdir(exist_ok=True)
            place_model(chain.run, chain.student, own, class_document(class_map_of(chain.run, chain.index)))


def place_labels(spec: FoldsSpec, labels: PseudoLabels, folder: Path) -> None:
    """Place the ensemble's COCO pseudo-annotations with their quality card, and index PNGs beside them."""
    source, first = spec.run.path / labels.output.path, spec.chains[0]
    for name in LABEL_FILES:
        place_file(source / name, folder / name)
    if spec.run.config.outputs.index_png:
        palette, target = class_map_of(first.run, first.index).palette, folder / "index_png"
        made_from = {"maps": labels.maps_digest, "palette": palette}
        keep_or_make(spec.run.path, target, made_from, partial(place_index_pngs, source / LABEL_MAPS, palette, target))


def place_submission(spec: FoldsSpec, folder: Path) -> None:
    """Place the ensemble's submission.csv, checked as a judge would, where there is a test list."""
    first, size = spec.chains[0], spec.run.config.outputs.submission_size
    if spec.run.config.data.test is None or size is None:
        return
    test = submission_images(first.run, first.index)
    files = tuple(spec.run.path / shard.output.path / PREDICTIONS for shard in spec.shards)
    submission = SubmissionSpec(files, test, size, class_map_of(first.run, first.index).num_classes, fill_class=0)
    make_submission(submission, folder / "submission.csv")


def place_report(report: FoldsReport, target: Path) -> None:
    """Write cross_validation.html."""
    new = target.with_name(f".{target.name}.new")
    render_folds(report, new)
    sync_file(new)
    new.replace(target)


def report_of(spec: FoldsSpec) -> FoldsReport:
    """Return everything the page shows."""
    first, found = spec.chains[0], spec.found
    classes, versions = class_map_of(first.run, first.index), environment_versions()
    rows = zip(spec.chains, found.fold_scores, found.members, strict=True)
    return FoldsReport(
        run_id=spec.run.run_id,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        class_names=classes.names,
        palette=classes.palette,
        score=found.score,
        folds=tuple(
            FoldReport(chain.fold_index, chain.run.run_id, chain.winner_index, score, member.delta, member.kept)
            for chain, score, member in rows
        ),
        suspects=suspects_of(spec),
        num_suspects=len(found.suspicious),
        transductive=transductive(first.run, first.index),
        num_labelled=0 if spec.labels is None else spec.labels.num_images,
        versions=versions,
        overlays=suspect_overlays(spec),
    )


def environment_versions() -> dict[str, str]:
    """Return the versions of Python and packages."""
    versions: Any = environment()
    packages = versions.get("packages", {})
    return {"python": str(versions.get("python")), **{name: str(found) for name, found in packages.items()}}


def suspects_of(spec: FoldsSpec) -> tuple[SuspectReport, ...]:
    """Return the images at the head of the ranking."""
    names = class_map_of(spec.chains[0].run, spec.chains[0].index).names
    where = {
        image.image_id: (image.file_name, chain.fold_index)
        for chain in spec.chains
        for image in images_of(chain.run, chain.index, "report")
    }
    return tuple(
        SuspectReport(*where[item.image_id], item.share, names[item.given], names[item.suggested])
        for item in spec.found.suspicious[:NUM_SUSPECTS]
        if item.given is not None and item.suggested is not None
    )


def suspect_overlays(spec: FoldsSpec) -> tuple[Overlay, ...]:
    """Return the worst images with truth, out-of-fold prediction and confidence, worst first."""
    order = [item.image_id for item in spec.found.suspicious[:NUM_PICTURES]]
    found = {}
    for chain in spec.chains:
        images = {image.image_id: image for image in images_of(chain.run, chain.index, "report")}
        wanted = [image_id for image_id in order if image_id in images]
        truth = LabelMaps(ground_truth_path(chain.run, chain.index))
        for prediction in read_predictions(predictions_of(chain), wanted):
            image = images[prediction.image_id]
            found[image.image_id] = overlay(chain.run, image, prediction, truth[image.image_id], image.image_id)
        truth.close()
    return tuple(found[image_id] for image_id in order)
