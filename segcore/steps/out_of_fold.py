"""Out-of-fold predictions of all labelled images: one score, the ensemble's members, labels that are probably wrong."""

from __future__ import annotations

import csv
import itertools
import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.data.label_maps import LabelMaps
from segcore.pseudo.histograms import write_calib_histogram
from segcore.pseudo.predictions import Prediction, read_predictions
from segcore.records import Interval, Score, StepOutput
from segcore.steps.chains import Chain
from segcore.steps.evaluate import read_confusions
from segcore.steps.index import class_map_of, ground_truth_path, images_of
from segcore.steps.label import PREDICTIONS
from segcore.steps.run import Run, ensure_step
from segcore.store.layout import out_of_fold_place
from segcore.store.run_file import canonical_indented
from segcore.store.steps import Step
from segcore.trust.confusion import ConfusionTable
from segcore.trust.gate import GateSpec, score
from segcore.trust.label_errors import Suspicion, agreeing_levels, ranked, sure_levels, suspicion
from segcore.trust.members import Member, MemberSpec, choose_members

logger = logging.getLogger(__name__)

VERSION = 1
CONFUSION, HISTOGRAM = "confusion.parquet", "calib_histogram.parquet"
SUSPICIOUS, SCORES = "suspicious_labels.csv", "scores.json"
COLUMNS = ("rank", "image_id", "file_name", "fold", "share", "given", "suggested", "pair_pixels", "labelled_pixels")


@dataclass(frozen=True)
class OutOfFoldSpec:
    """All chains of a cross-validation, fold by fold. run: where what is made of them is published."""

    run: Run
    chains: tuple[Chain, ...]


@dataclass(frozen=True)
class OutOfFold:
    """What the out-of-fold predictions tell. score: of all images as one; fold_scores: of each fold's own.

    members: which models the ensemble is made of. suspicious: images whose truth is surely contradicted, worst first.
    """

    output: StepOutput
    score: Score
    fold_scores: tuple[Score, ...]
    members: tuple[Member, ...]
    suspicious: tuple[Suspicion, ...]


def out_of_fold_step(spec: OutOfFoldSpec) -> Step:
    """Return the step: every fold's predictions and truth, and how intervals are drawn."""
    loop = spec.run.config.loop
    inputs = {
        "folds": [[chain.evaluation.digest, chain.index.digests["report"]] for chain in spec.chains],
        "classes": list(class_map_of(spec.chains[0].run, spec.chains[0].index).names),
        "level": loop.gate_level,
        "resamples": loop.gate_resamples,
        "seed": loop.seed,
    }
    return Step("out_of_fold", VERSION, out_of_fold_place(), inputs)


def score_out_of_fold(spec: OutOfFoldSpec) -> OutOfFold:
    """Score the out-of-fold predictions of all chains as one, or reuse the score."""
    published = ensure_step(spec.run, out_of_fold_step(spec), lambda work: build(spec, work))
    return result_of(published.output(spec.run.path), published.value)


def build(spec: OutOfFoldSpec, work: Path) -> dict[str, Any]:
    """Write confusions, scores and the ranking."""
    tables = [read_confusions(chain.run, chain.evaluation) for chain in spec.chains]
    num_excluded = [chain.num_excluded for chain in spec.chains]
    together = joined(tables)
    together.write(work / CONFUSION)
    write_histogram(spec, work / HISTOGRAM)
    loop = spec.run.config.loop
    found = ranked(list(suspicions(spec)))
    write_ranking(spec, found, work / SUSPICIOUS)
    value = {
        "score": asdict(score(together, gate_spec(spec, sum(num_excluded)))),
        "fold_scores": [
            asdict(score(table, gate_spec(spec, excluded)))
            for table, excluded in zip(tables, num_excluded, strict=True)
        ],
        "members": [
            asdict(member)
            for member in choose_members(tables, MemberSpec(loop.gate_level, loop.gate_resamples, loop.seed))
        ],
        "suspicious": [asdict(item) for item in found],
    }
    (work / SCORES).write_text(canonical_indented(value) + "\n", encoding="ascii")
    return value


def write_histogram(spec: OutOfFoldSpec, path: Path) -> None:
    """Write how often which confidence is right on images that the model has never seen, all folds together."""
    first = spec.chains[0]
    predictions = itertools.chain.from_iterable(read_predictions(predictions_of(chain)) for chain in spec.chains)
    num_classes = class_map_of(first.run, first.index).num_classes
    with closing(LabelMaps(ground_truth_path(first.run, first.index))) as truth:  # every chain's index has all labels
        write_calib_histogram(path, predictions, truth, num_classes)


def joined(tables: list[ConfusionTable]) -> ConfusionTable:
    """Return the tables of different images as one; DataError when an image is in two."""
    ids = tuple(image_id for table in tables for image_id in table.image_ids)
    return ConfusionTable(ids, np.concatenate([table.counts for table in tables]))


def gate_spec(spec: OutOfFoldSpec, num_excluded: int) -> GateSpec:
    """Return how a score and its interval are computed."""
    loop, chain = spec.run.config.loop, spec.chains[0]
    names = class_map_of(chain.run, chain.index).names
    return GateSpec(loop.gate_level, 1, loop.gate_resamples, loop.seed, names, None, num_excluded)


def suspicions(spec: OutOfFoldSpec) -> Iterator[Suspicion]:
    """Yield how much of each image's truth its fold's model surely contradicts; a model's sureness is its own."""
    num_classes = class_map_of(spec.chains[0].run, spec.chains[0].index).num_classes
    for chain in spec.chains:
        counts = np.zeros((num_classes, 256), np.int64)
        for prediction, truth in with_truth(chain):
            counts += agreeing_levels(truth, prediction.label_map, prediction.confidence, num_classes)
        sure = sure_levels(counts)
        for prediction, truth in with_truth(chain):
            yield suspicion(prediction.image_id, truth, prediction.label_map, prediction.confidence, sure)


def with_truth(chain: Chain) -> Iterator[tuple[Prediction, NDArray[np.uint8]]]:
    """Yield the predictions of a chain's fold with the true label map of their image, (H, W) uint8."""
    with closing(LabelMaps(ground_truth_path(chain.run, chain.index))) as maps:
        for prediction in read_predictions(predictions_of(chain)):
            yield prediction, maps[prediction.image_id]


def predictions_of(chain: Chain) -> Path:
    """Return the file with a winner's predictions of the fold it has never seen."""
    return chain.run.path / chain.evaluation.path / PREDICTIONS


def write_ranking(spec: OutOfFoldSpec, found: tuple[Suspicion, ...], path: Path) -> None:
    """Write the images whose labels are probably wrong as CSV, worst first; classes by name, share in [0, 1]."""
    names = class_map_of(spec.chains[0].run, spec.chains[0].index).names
    where = {
        image.image_id: (image.file_name, chain.fold_index)
        for chain in spec.chains
        for image in images_of(chain.run, chain.index, "report")
    }
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for rank, item in enumerate(found, 1):
            assert item.given is not None, "only images with something contradicted are ranked"
            assert item.suggested is not None, "only images with something contradicted are ranked"
            writer.writerow(
                (rank, item.image_id, *where[item.image_id], f"{item.share:.6f}", names[item.given],
                 names[item.suggested], item.num_pair, item.num_pixels)
            )  # fmt: skip


def result_of(output: StepOutput, value: Any) -> OutOfFold:
    """Return a published result as records."""
    return OutOfFold(
        output=output,
        score=score_from(value["score"]),
        fold_scores=tuple(score_from(item) for item in value["fold_scores"]),
        members=tuple(Member(m["fold_index"], Interval(**m["delta"]), m["kept"]) for m in value["members"]),
        suspicious=tuple(Suspicion(**item) for item in value["suspicious"]),
    )


def score_from(raw: Any) -> Score:
    """Return a Score from its JSON."""
    return Score(**{**raw, "miou": Interval(**raw["miou"]), "class_iou": tuple(raw["class_iou"])})
