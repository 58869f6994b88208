"""Two rounds of a run side by side: what went into them, their pseudo-labels, their scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from segcore.data.label_maps import LabelMaps
from segcore.outputs.report_text import iou, percent, signed
from segcore.pseudo.build import LABEL_MAPS
from segcore.pseudo.quality import churn_of, count_pairs
from segcore.records import IGNORE_INDEX, RoundRecord, StepOutput
from segcore.steps.approval import read_round
from segcore.steps.ensemble_files import is_ensemble
from segcore.steps.finished import existing_run, published_index
from segcore.steps.index import class_map_of
from segcore.steps.quality_card import read_card
from segcore.steps.references import readable_manifests, strings_in
from segcore.steps.run import Run
from segcore.store.manifest import Manifest, read_manifest
from segcore.store.run_file import shown
from segcore.store.steps import changed_fields
from segcore.trust.alarm_text import sentences

HASH_CHARS = 64  # inputs that are hashes differ in every round, and tell nothing
NOT_TOLD = frozenset({"round", "seed", "shards", "previous", "last", "first"})


def diff_rounds(name: str, first: int, second: int, num_images: int) -> str:
    """Return the differences of two rounds as lines. name: run_id or run folder. num_images: that changed most.

    RunError when one of the rounds is not finished.
    """
    run = existing_run(name)
    records = (read_round(run, first), read_round(run, second))
    names = class_map_of(run, published_index(run)).names
    lines = [f"{run.run_id}: round {first} → round {second}", *settings(run, records), *scores(records, names)]
    outputs = [record.pseudo_labels for record in records]
    if outputs[0] is None or outputs[1] is None:
        return "\n".join([*lines, f"round {first if outputs[0] is None else second} has no pseudo-labels"])
    return "\n".join([*lines, *cards(run, records), *label_lines(run, (outputs[0], outputs[1]), num_images)])


def settings(run: Run, records: Sequence[RoundRecord]) -> Iterator[str]:
    """Yield the inputs of training and filter that differ, but for hashes and what differs in any two rounds."""
    before, after = (inputs_of(run, record) for record in records)
    for field in changed_fields(before, after):
        values = (shown(before, field), shown(after, field))
        if field.split(".")[-1] not in NOT_TOLD and not any(len(value.strip('"')) >= HASH_CHARS for value in values):
            yield f"  {field}: {values[0]} → {values[1]}"


def inputs_of(run: Run, record: RoundRecord) -> dict[str, Any]:
    """Return what a round's training and filter were made from."""
    student = (run.path / record.student.path).parent
    found: dict[str, Any] = {"train": read_manifest(student).inputs}
    if is_ensemble(Path(record.student.path)):
        joined: Any = read_manifest(student)
        trained = training_of(run, record.round_index, joined.inputs["members"][0]["weights"])
        found = {"ensemble": {"shares": joined.value["shares"]}, "train": None if trained is None else trained.inputs}
    if record.pseudo_labels is not None:
        found["filter"] = read_manifest(run.path / record.pseudo_labels.path).inputs
    return found


def training_of(run: Run, round_index: int, weights: str) -> Manifest | None:
    """Return the manifest of the round's training that gave these weights; None when it is gone."""
    manifests = readable_manifests(run.layout.round_dir(round_index)).values()
    return next((each for each in manifests if each.kind == "train" and weights in strings_in(each.value)), None)


def scores(records: Sequence[RoundRecord], names: Sequence[str]) -> Iterator[str]:
    """Yield mIoU and every class's IoU."""
    first, second = (record.score for record in records)
    width = max(len("mIoU"), *(len(name) for name in names))
    rows = [("mIoU", first.miou.point, second.miou.point)]
    rows += [(name, a, b) for name, a, b in zip(names, first.class_iou, second.class_iou, strict=True)]  # type: ignore[misc]
    for name, a, b in rows:
        change = None if a is None or b is None else b - a
        yield f"  {name:{width}}  IoU {iou(a)} → {iou(b)} ({signed(change)})"


def cards(run: Run, records: Sequence[RoundRecord]) -> Iterator[str]:
    """Yield thresholds, coverage, promised precision and area of every class, then the alarms of both rounds."""
    if any(record.card is None for record in records):
        return
    before, after = (read_card(run.path / record.card.path) for record in records if record.card is not None)
    yield f"pseudo-labels: coverage {percent(before['coverage'])} → {percent(after['coverage'])}"
    for a, b in zip(before["classes"], after["classes"], strict=True):
        yield (
            f"  {a['name']}: tau {a['tau']:.3f} → {b['tau']:.3f}, coverage {percent(a['coverage'])} → "
            f"{percent(b['coverage'])}, expected precision {point(a)} → {point(b)}, share of kept "
            f"{percent(a['kept_share'])} → {percent(b['kept_share'])}, confidence {iou(a['pool_confidence'])} → "
            f"{iou(b['pool_confidence'])}"
        )
    for record, card in zip(records, (before, after), strict=True):
        yield from (f"  round {record.round_index} alarm: {text}" for text in sentences(card))


def point(row: dict[str, Any]) -> str:
    """Return the expected precision of a class, without its interval."""
    return percent(None if row["precision"] is None else row["precision"]["point"])


def label_lines(run: Run, outputs: tuple[StepOutput, StepOutput], num_images: int) -> Iterator[str]:
    """Yield the churn of the pseudo-labels, and the images that changed most. Reads every label map of both."""
    if outputs[0] == outputs[1]:
        yield "the same pseudo-labels"
        return
    found: list[tuple[float, str]] = []
    num_classes = len(class_map_of(run, published_index(run)).names)
    total = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    paths = [run.path / output.path / LABEL_MAPS for output in outputs]
    with closing(LabelMaps(paths[0])) as first, closing(LabelMaps(paths[1])) as second:
        shared = [image_id for image_id in second.ids() if image_id in first]
        only = len(second) - len(shared), len(first) - len(shared)
        for image_id in shared:
            before, after = first[image_id], second[image_id]
            if before.shape == after.shape:
                total += count_pairs(before, after, num_classes)
                both = (before != IGNORE_INDEX) & (after != IGNORE_INDEX)
                found.append((float(((before != after) & both).mean()), image_id))
    churn = churn_of(total)
    if churn is not None:
        yield (
            f"of the pixels kept in both {percent(churn['changed'])} changed class; "
            f"{percent(churn['added'])} of all pixels were added, {percent(churn['dropped'])} dropped"
        )
    yield f"{len(shared)} images in both, {only[0]} only in the second, {only[1]} only in the first"
    for share, image_id in sorted(found, key=lambda item: (-item[0], item[1]))[:num_images]:
        yield f"  {image_id}: {percent(share)} of its pixels changed class"
