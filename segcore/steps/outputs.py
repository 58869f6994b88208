"""The last step: model, pseudo-annotations, submission and report of the best round, under stable names in outputs/."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from segcore.data.label_maps import LabelMaps
from segcore.outputs import report_text
from segcore.outputs.index_png import export_index_pngs
from segcore.outputs.report import render_report
from segcore.outputs.report_data import ReportData
from segcore.outputs.submission import SubmissionSpec, validate_submission, write_submission
from segcore.records import ImageRecord, RoundRecord, Score
from segcore.steps.decide import goes_on
from segcore.steps.evaluate import Evaluation, read_confusions
from segcore.steps.given_teacher import has_given_teacher
from segcore.steps.index import Index, class_map_of
from segcore.steps.inspect_labels import LabelledPool, StoppedByAlarm
from segcore.steps.kept_outputs import keep_or_make
from segcore.steps.label import PREDICTIONS
from segcore.steps.model_files import class_document
from segcore.steps.placed_models import place_model
from segcore.steps.refit import refit_sentence
from segcore.steps.report import ReportSpec, report_data, score_of
from segcore.steps.run import Run
from segcore.steps.submission import submission_images
from segcore.steps.train import PseudoLabels, Student, iterations_of
from segcore.store.disk import written
from segcore.store.durable import place_file, sync_file, sync_folder, sync_tree
from segcore.store.events import append_event
from segcore.trust.attribution import Attribution, Scored, attribute
from segcore.trust.loop_policy import winner

logger = logging.getLogger(__name__)

INDEX_PNG_VERSION, SUBMISSION_VERSION = 1, 1  # raised when the same would be written otherwise
LABEL_FILES = ("annotations.json", "quality.json", "thresholds.json")


@dataclass(frozen=True)
class OutputSpec:
    """A finished loop.

    report: score on the report set; control: score of the GT-only student; refit: the model trained on all labels;
    None where not made.
    """

    run: Run
    index: Index
    history: tuple[RoundRecord, ...]
    labels: LabelledPool
    report: Evaluation | None
    control: Evaluation | None
    refit: Student | None = None
    stopped: StoppedByAlarm | None = None


@dataclass(frozen=True)
class RunSummary:
    """What a run ends with. outputs: absolute folder. miou, first_miou: gate mIoU of the winner and of round 0.

    headline: the result in one sentence. caveats: what it does not say.
    """

    run_id: str
    outputs: str
    winner_index: int
    num_rounds: int
    miou: float
    first_miou: float
    stop_reason: str
    headline: str
    caveats: tuple[str, ...]


def publish_outputs(spec: OutputSpec) -> RunSummary:
    """Fill outputs/ part by part, each replaced whole; what is made from the same as before stays."""
    run, best, folder = spec.run, winner(spec.history), spec.run.layout.outputs_dir
    stop_reason = goes_on(run, spec.history)[1] if spec.stopped is None else spec.stopped.reason
    with written("outputs"):
        report = report_of(spec, stop_reason)
        place_all(spec, folder, report)
    summary = RunSummary(
        run_id=run.run_id,
        outputs=str(folder),
        winner_index=best.round_index,
        num_rounds=len(spec.history) - 1,
        miou=best.score.miou.point,
        first_miou=spec.history[0].score.miou.point,
        stop_reason=stop_reason,
        headline=report_text.headline(report),
        caveats=tuple(report_text.caveats(report)),
    )
    append_event(run.path, "outputs", winner=best.round_index, miou=summary.miou, reason=stop_reason)
    logger.info("stopped: %s", stop_reason)
    logger.info("outputs of round %d: %s", best.round_index, folder)
    return summary


def place_all(spec: OutputSpec, folder: Path, report: ReportData) -> None:
    """Put every file into the folder of outputs, durably."""
    run, best = spec.run, winner(spec.history)
    folder.mkdir(parents=True, exist_ok=True)
    classes = class_document(class_map_of(run, spec.index))
    place_model(run, best.student, folder, classes)
    if spec.labels.pseudo_labels is not None:
        place_labels(spec, spec.labels.pseudo_labels, folder)
    place_refit(run, spec.refit, classes)
    if run.config.data.test is not None and run.config.outputs.submission_size is not None:
        place_submission(spec, submission_images(run, spec.index), run.config.outputs.submission_size)
    place_report(run, report)
    sync_folder(folder)


def place_refit(run: Run, refit: Student | None, classes: str) -> None:
    """Place the refit's model in a folder of its own, so that nobody takes it for the scored one; None: remove it."""
    folder = run.layout.refit_dir
    if refit is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    folder.mkdir(exist_ok=True)
    place_model(run, refit.checkpoint, folder, classes)
    logger.info("final refit, not scored: %s", folder)


def place_labels(spec: OutputSpec, pseudo: PseudoLabels, folder: Path) -> None:
    """Place the COCO pseudo-annotations with their quality card, and index PNGs beside them."""
    source = spec.run.path / pseudo.output.path
    for name in LABEL_FILES:
        place_file(source / name, folder / name)
    if spec.run.config.outputs.index_png:
        palette = class_map_of(spec.run, spec.index).palette
        made_from = {"version": INDEX_PNG_VERSION, "maps": pseudo.maps_digest, "palette": palette}
        target = folder / "index_png"
        keep_or_make(
            spec.run.path, target, made_from, lambda: place_index_pngs(source / "label_maps.arrow", palette, target)
        )


def place_index_pngs(label_maps: Path, palette: Sequence[tuple[int, int, int]], target: Path) -> None:
    """Put the index PNGs of all label maps into the folder target."""
    new = target.with_name(f".{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    with closing(LabelMaps(label_maps)) as maps:
        export_index_pngs(maps, maps.ids(), new, palette)
    sync_tree(new)
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


def place_submission(spec: OutputSpec, test: tuple[ImageRecord, ...], size: tuple[int, int]) -> None:
    """Place submission.csv, checked as a judge would."""
    run = spec.run
    num_classes = class_map_of(run, spec.index).num_classes
    files = tuple(run.path / shard.output.path / PREDICTIONS for shard in spec.labels.shards)
    submission = SubmissionSpec(files, test, size, num_classes, fill_class=0)
    made_from = {
        "version": SUBMISSION_VERSION,
        "shards": [shard.output.digest for shard in spec.labels.shards],
        "images": [[image.image_id, image.file_name] for image in test],
        "size": size,
        "num_classes": num_classes,
    }
    target = run.layout.outputs_dir / "submission.csv"
    keep_or_make(run.path, target, made_from, lambda: make_submission(submission, target))


def make_submission(spec: SubmissionSpec, target: Path) -> None:
    """Write and check the CSV, and put it at target."""
    new = target.with_name(f".{target.name}.new")
    for image_id in write_submission(spec, new):
        logger.warning("submission: %s could not be labelled and is filled with class 0", image_id)
    validate_submission(new, [image.file_name for image in spec.images], spec.size, spec.num_classes)
    sync_file(new)
    new.replace(target)


def report_of(spec: OutputSpec, stop_reason: str) -> ReportData:
    """Return everything the report shows."""
    run = spec.run
    scores: list[Score | None] = [
        None if evaluation is None else score_of(run, spec.index, evaluation)
        for evaluation in (spec.report, spec.control)
    ]
    pseudo = spec.labels.pseudo_labels
    refit = refit_sentence(run, spec.index, spec.history, spec.refit)
    reported = ReportSpec(
        run, spec.index, spec.history, stop_reason, pseudo, spec.labels.shards, scores[0], scores[1], refit,
        spec.stopped, spec.labels.card, attribution_of(spec),
    )  # fmt: skip
    return report_data(reported)


def attribution_of(spec: OutputSpec) -> Attribution | None:
    """Return what the winner's gain is made of; None without a control."""
    if spec.control is None:
        return None
    run, best, first = spec.run, winner(spec.history), spec.history[0]
    published = (first.evaluation, spec.control.output, best.evaluation)
    scored = Scored(*(read_confusions(run, output) for output in published))
    lengths = {iterations_of(run.config, record.round_index) for record in (first, best)}
    same = len(lengths) == 1 and not has_given_teacher(run)
    return attribute(scored, run.config.loop.gate_resamples, run.config.loop.seed, same)


def place_report(run: Run, report: ReportData) -> None:
    """Write report.html."""
    target = run.layout.outputs_dir / "report.html"
    new = target.with_name(".report.html.new")
    render_report(report, new)
    sync_file(new)
    new.replace(target)
