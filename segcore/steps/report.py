"""Gather what the report shows from the run files."""

from __future__ import annotations

import json
import platform
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from segcore.data.images import read_image
from segcore.data.label_maps import LabelMaps
from segcore.outputs.card_text import card_report
from segcore.outputs.reliability import calibration_report
from segcore.outputs.report_data import (
    CalibrationReport,
    CardReport,
    Overlay,
    PseudoLabelReport,
    ReportData,
    RoundReport,
)
from segcore.pseudo.build import LABEL_MAPS
from segcore.pseudo.confidence import dequantise
from segcore.pseudo.predictions import Prediction, read_predictions
from segcore.records import ImageRecord, RoundRecord, Score, StepOutput
from segcore.steps.calibration_card import calibration_behind
from segcore.steps.evaluate import Evaluation, read_confusions
from segcore.steps.index import Index, class_map_of, ground_truth_path, image_path, images_of, summary_of
from segcore.steps.inspect_labels import StoppedByAlarm
from segcore.steps.label import PREDICTIONS, LabelledShard
from segcore.steps.pseudo_labels import filter_spec
from segcore.steps.report_ensemble import ensemble_report
from segcore.steps.run import Run
from segcore.steps.stored_alarms import CARD
from segcore.steps.train import PseudoLabels
from segcore.store.environment import environment
from segcore.store.events import read_events
from segcore.trust.attribution import Attribution
from segcore.trust.gate import GateSpec, score
from segcore.trust.loop_policy import winner

NUM_OVERLAYS = 6  # of each kind
KIND_NAMES = {
    "index": "index", "train": "train", "label": "label", "calibrate": "calibrate", "filter": "filter",
    "inspect": "inspect", "guard": "guard", "votes": "votes", "ensemble": "ensemble", "evaluate": "evaluate",
}  # fmt: skip


@dataclass(frozen=True)
class ReportSpec:
    """A finished loop, and what was made of its winner.

    refit: sentence on the final refit, empty without one. stopped: in place of a round, whose alarm ended the loop.
    card: quality card of the final pseudo-labels.
    """

    run: Run
    index: Index
    history: tuple[RoundRecord, ...]
    stop_reason: str
    pseudo_labels: PseudoLabels | None
    shards: tuple[LabelledShard, ...]
    report_score: Score | None
    control: Score | None
    refit: str = ""
    stopped: StoppedByAlarm | None = None
    card: StepOutput | None = None
    attribution: Attribution | None = None


def score_of(run: Run, index: Index, evaluation: Evaluation) -> Score:
    """Return the score of a published evaluation."""
    spec = GateSpec(
        level=run.config.loop.gate_level,
        num_comparisons=1,
        resamples=run.config.loop.gate_resamples,
        seed=run.config.loop.seed,
        class_names=class_map_of(run, index).names,
        baseline_round=None,
        num_excluded=evaluation.num_excluded,
    )
    return score(read_confusions(run, evaluation.output), spec)


def report_data(spec: ReportSpec) -> ReportData:
    """Return everything report.html shows."""
    run, index = spec.run, spec.index
    cards = cards_of(spec)
    classes = class_map_of(run, index)
    summary = summary_of(run, index)
    versions: Any = environment()
    seconds = seconds_by_round(run)
    rounds = tuple(round_report(run, record, seconds[f"round_{record.round_index:02d}"]) for record in spec.history)
    packages = versions.get("packages", {})
    return ReportData(
        run_id=run.run_id,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        config_yaml=yaml.safe_dump(run.config.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        class_names=classes.names,
        palette=classes.palette,
        rounds=rounds,
        winner_index=winner(spec.history).round_index,
        stop_reason=spec.stop_reason,
        role_counts=index.num_images,
        num_dropped=len(summary["dropped"]),
        num_quarantined=len(summary["quarantined"]) + sum(shard.num_quarantined for shard in spec.shards),
        transductive=transductive(run, index),
        versions={"python": str(versions.get("python")), **{name: str(found) for name, found in packages.items()}},
        machine=f"{platform.machine()}, {platform.system()}",
        commit=str(versions.get("commit") or "not from a git checkout"),
        reproduce=f"segloop run CONFIG --run-id {run.run_id}   # CONFIG: the text below, saved as YAML",
        control=spec.control,
        attribution=spec.attribution,
        report_score=spec.report_score,
        refit=spec.refit,
        alarms=tuple(f"{card.title}: {text}" for card in cards for text in card.grouped),
        cards=cards,
        calibration=final_calibration(spec),
        overlays=(*gate_overlays(spec), *pool_overlays(spec)),
    )


def final_calibration(spec: ReportSpec) -> CalibrationReport | None:
    """Return the calibration of the winner that made the final labels; None without any."""
    if not spec.shards:
        return None
    best = winner(spec.history).student
    card = calibration_behind(filter_spec(spec.run, spec.index, spec.history, best, spec.shards, final=True))
    return None if card is None else calibration_report(card)


def transductive(run: Run, index: Index) -> str:
    """Return a sentence on the use of test images."""
    if not index.num_images.get("test"):
        return "There were no unlabelled test images."
    if run.config.pool.use_test:
        return (
            "Transductive: test images were pseudo-labelled and trained on (without their labels); some rules "
            "forbid this, pool.use_test: false turns it off."
        )
    return "Inductive: test images were not trained on (pool.use_test: false)."


def seconds_by_round(run: Run) -> dict[str, dict[str, float]]:
    """Return the wall-clock seconds of finished steps, by first folder and kind."""
    seconds: dict[str, dict[str, float]] = defaultdict(dict)
    for event in read_events(run.path):
        if event["event"] == "step_done":
            place, kind = str(event["place"]).split("/", 1)[0], str(event["kind"])
            seconds[place][kind] = seconds[place].get(kind, 0.0) + float(event["seconds"])
    return seconds


def round_report(run: Run, record: RoundRecord, seconds: dict[str, float]) -> RoundReport:
    """Return what the report shows of a round."""
    pseudo = None if record.pseudo_labels is None else pseudo_report(run, record.pseudo_labels)
    ordered = {kind: seconds[kind] for kind in KIND_NAMES if kind in seconds}
    ensemble = ensemble_report(run, record.student)
    return RoundReport(record.round_index, record.score, record.decision, ordered, pseudo, ensemble)


def pseudo_report(run: Run, output: StepOutput) -> PseudoLabelReport:
    """Return thresholds and coverage of a round's pseudo-labels."""
    card = read_json(run.path / output.path / "quality.json")
    taus = read_json(run.path / output.path / "thresholds.json")["classes"]
    return PseudoLabelReport(
        tau=tuple(row["tau"] for row in taus),
        coverage=tuple(row["coverage"] for row in card["classes"]),
        ignored_share=card["share_ignored"],
        num_images=card["num_images"],
        promise=tuple(row["promise"] for row in taus),
    )


def cards_of(spec: ReportSpec) -> tuple[CardReport, ...]:
    """Return the quality cards of all rounds, then that of the final pseudo-labels."""
    named = [(f"round {record.round_index}", record.card) for record in spec.history]
    if spec.stopped is not None:
        named.append((f"round {spec.stopped.round_index}, not trained on", spec.stopped.card))
    named.append(("final pseudo-labels", spec.card))
    return tuple(
        card_report(title, read_json(spec.run.path / card.path / CARD)) for title, card in named if card is not None
    )


def gate_overlays(spec: ReportSpec) -> list[Overlay]:
    """Return some gate images with truth and the winner's prediction: the first, spread over the list."""
    run, best = spec.run, winner(spec.history)
    path = run.path / best.evaluation.path / PREDICTIONS
    images = {image.image_id: image for image in images_of(run, spec.index, "gate")}
    chosen = spread(sorted(images), NUM_OVERLAYS)
    truth = LabelMaps(ground_truth_path(run, spec.index))
    overlays = [
        overlay(run, images[p.image_id], p, truth[p.image_id], f"gate: {p.image_id}")
        for p in read_predictions(path, chosen)
    ]
    truth.close()
    return overlays


def pool_overlays(spec: ReportSpec) -> list[Overlay]:
    """Return some pool images with the winner's pseudo-label; ignored pixels are left blank."""
    if spec.pseudo_labels is None:
        return []
    with closing(LabelMaps(spec.run.path / spec.pseudo_labels.output.path / LABEL_MAPS)) as maps:
        chosen = {image_id: maps[image_id] for image_id in spread(maps.ids(), NUM_OVERLAYS)}
    overlays = label_overlays(spec.run, spec.index, spec.shards, chosen)
    return [replace(item, title=f"pseudo-label: {item.title}") for item in overlays]


def label_overlays(
    run: Run, index: Index, shards: tuple[LabelledShard, ...], label_maps: Mapping[str, NDArray[np.uint8]]
) -> list[Overlay]:
    """Return images with the label maps given by image_id, and the confidence that the shards' predictions hold."""
    images = {image.image_id: image for image in images_of(run, index)}
    found = (
        prediction
        for shard in shards
        for prediction in read_predictions(run.path / shard.output.path / PREDICTIONS, label_maps)
    )
    return [
        overlay(run, images[p.image_id], replace(p, label_map=label_maps[p.image_id]), None, p.image_id) for p in found
    ]


def overlay(run: Run, image: ImageRecord, prediction: Prediction, truth: Any, title: str) -> Overlay:
    """Return one picture row."""
    pixels = np.ascontiguousarray(read_image(image_path(run, image))[..., ::-1])
    confidence = dequantise(prediction.confidence).astype(np.float32)
    return Overlay(title, pixels, prediction.label_map, truth, confidence)


def spread(items: Any, num: int) -> list[str]:
    """Return at most num items at even distances."""
    listed = list(items)
    step = max(1, len(listed) // num)
    return listed[::step][:num]


def read_json(path: Path) -> Any:
    """Return the contents of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
