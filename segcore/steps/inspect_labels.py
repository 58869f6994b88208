"""Filtered pseudo-labels are looked at before a student learns from them: alarms change them, or end the loop."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from segcore.data.label_maps import LabelMaps
from segcore.pseudo.build import LABEL_MAPS, QUALITY, THRESHOLDS, write_json
from segcore.pseudo.card import pool_levels
from segcore.pseudo.expected import expected_classes
from segcore.pseudo.guard import FrozenClass, GuardSpec, as_frozen, build_guarded, raised
from segcore.pseudo.histograms import read_calib_histogram
from segcore.pseudo.thresholds import Thresholds
from segcore.records import RoundRecord, StepOutput
from segcore.steps.index import class_map_of, pool_of
from segcore.steps.label import LabelledShard
from segcore.steps.pseudo_labels import (
    CALIB_HISTOGRAM,
    prediction_paths,
    pseudo_labels_of,
    shard_digests,
    wanted_of_filter,
)
from segcore.steps.quality_card import (
    InspectSpec,
    actions_in,
    build_card,
    inspect_step,
    predictions_of,
    read_card,
    read_json,
    source_of,
)
from segcore.steps.run import Run, ensure_step
from segcore.steps.stored_alarms import CARD
from segcore.steps.train import PseudoLabels
from segcore.store.layout import card_place, guarded_place
from segcore.store.publish import Published
from segcore.store.steps import Step
from segcore.trust.alarm_text import sentences

logger = logging.getLogger(__name__)

GUARD_VERSION = 1


@dataclass(frozen=True)
class Inspection:
    """What came of it. output: holds card.json. labels: those to learn from, guarded where an alarm acted.

    stop: why the loop ends before a student is trained on them; None when it does not.
    """

    output: StepOutput
    labels: PseudoLabels
    stop: str | None


@dataclass(frozen=True)
class LabelledPool:
    """A teacher's labelling of the pool: shards, and the pseudo-labels made of them (None without a pool)."""

    shards: tuple[LabelledShard, ...]
    pseudo_labels: PseudoLabels | None
    card: StepOutput | None = None
    stop: str | None = None


NO_LABELS = LabelledPool((), None)  # of a round without a teacher, and of a run without unlabelled images


@dataclass(frozen=True)
class StoppedByAlarm:
    """In place of a round: its pseudo-labels raised an alarm that ends the loop. card: that shows it."""

    round_index: int
    reason: str
    card: StepOutput | None


def inspect_labels(spec: InspectSpec) -> Inspection:
    """Make the card, find the alarms, and do what they call for."""
    run = spec.run
    published = ensure_step(run, inspect_step(spec), lambda work: build_card(spec, work))
    guard = guard_step(spec, published)
    if not published.reused:
        for text in sentences(read_card(published.path)):
            logger.warning("%s: alarm: %s", card_place(spec.filter.round_index), text)
    if guard is None:
        return inspection_of(spec, published, None)
    guarded = ensure_step(run, guard, lambda work: build_guard(spec, published, work))
    return inspection_of(spec, published, guarded)


def inspection_of(spec: InspectSpec, inspected: Published, guarded: Published | None) -> Inspection:
    """Return published steps as the steps after them want them."""
    run = spec.run
    stop = actions_in(inspected.value).stop
    if guarded is None:
        return Inspection(inspected.output(run.path), spec.draft, stop)
    both = replace(guarded.output(run.path), reused=inspected.reused and guarded.reused)
    return Inspection(both, pseudo_labels_of(run, guarded), stop)


def guard_step(spec: InspectSpec, inspected: Published) -> Step | None:
    """Return the guard step; None when no alarm changes the labels."""
    run, actions = spec.run, actions_in(inspected.value)
    sources = {class_id: source_of(run, spec.history, class_id) for class_id in actions.frozen}
    kept = [[class_id, record.pseudo_labels.digest] for class_id, record in sources.items()
            if record is not None and record.pseudo_labels is not None]  # fmt: skip
    if not kept and not actions.raised:
        return None
    inputs = {
        "labels": spec.draft.output.digest,
        "card": inspected.digest,
        "shards": shard_digests(spec.filter),
        "frozen": kept,
        "raised": list(actions.raised),
        "share": run.config.alarms.raised_share,
        "min_component_px": run.config.filter.min_component_px,
        "teacher": spec.filter.teacher.digest,
        "previous": None if spec.filter.previous is None else spec.filter.previous.digest,
    }
    return Step("guard", GUARD_VERSION, guarded_place(spec.filter.round_index), inputs)


def build_guard(spec: InspectSpec, inspected: Published, work: Path) -> dict[str, Any]:
    """Write the guarded label maps, COCO file, thresholds and quality, and the card of what they are now."""
    run, actions = spec.run, actions_in(inspected.value)
    draft, files = run.path / spec.draft.output.path, prediction_paths(spec.filter)
    classes, pool = class_map_of(run, spec.filter.index), pool_of(run, spec.filter.index)
    cut = Thresholds.from_json(read_json(draft / THRESHOLDS))
    if actions.raised:
        with closing(LabelMaps(draft / LABEL_MAPS)) as maps:
            ids = frozenset(maps.ids())
        counts = pool_levels(files, ids, frozenset(), classes.num_classes).classes
        cut = raised(cut, actions.raised, counts, run.config.alarms.raised_share)
    sources = [(class_id, source_of(run, spec.history, class_id)) for class_id in actions.frozen]
    frozen = tuple(frozen_class(run, record, class_id) for class_id, record in sources if record is not None)
    previous = spec.filter.previous
    value = build_guarded(
        GuardSpec(
            draft=draft,
            predictions=files,
            images=pool,
            class_map=classes,
            cut=as_frozen(cut, frozen),
            frozen=frozen,
            teacher=spec.filter.teacher.digest,
            min_component_px=run.config.filter.min_component_px,
            previous=None if previous is None else run.path / previous.path / LABEL_MAPS,
            quality=read_json(draft / QUALITY),
            **wanted_of_filter(run.config),
        ),
        work,
    )
    write_json(work / CARD, guarded_card(spec, inspected, work, {item.class_id: item.round_index for item in frozen}))
    inspected_value: Any = inspected.value
    return {**value, "actions": asdict(actions), "predictions": inspected_value["predictions"]}


def frozen_class(run: Run, record: RoundRecord, class_id: int) -> FrozenClass:
    """Return where the good labels of a class are."""
    assert record.pseudo_labels is not None, "a round with a card has some"
    assert record.card is not None
    assert record.teacher is not None
    folder = run.path / record.pseudo_labels.path
    tau = Thresholds.from_json(read_json(folder / THRESHOLDS)).tau[class_id]
    files = predictions_of(run, record.card)
    return FrozenClass(class_id, folder / LABEL_MAPS, files, record.teacher.digest, record.round_index, tau)


def guarded_card(spec: InspectSpec, inspected: Published, work: Path, kept_from: dict[int, int]) -> dict[str, Any]:
    """Return the card after the alarms acted. kept_from: round by frozen class id, whose expectations hold for it."""
    run, card = spec.run, dict(read_card(inspected.path))
    quality = read_json(work / QUALITY)
    cut = Thresholds.from_json(read_json(work / THRESHOLDS))
    calib = read_calib_histogram(run.path / spec.calibration.output.path / CALIB_HISTOGRAM)
    expected = expected_classes(calib, cut.level)
    older = {record.round_index: record.card for record in spec.history if record.card is not None}
    rows = []
    for class_id, row in enumerate(card["classes"]):
        promised = expected[class_id]
        if class_id in kept_from:
            promised = read_card(run.path / older[kept_from[class_id]].path)["classes"][class_id]
        now = {name: promised[name] for name in ("precision", "calib_coverage")}
        rows.append(row | quality["classes"][class_id] | now)
    changed = {name: quality[name] for name in ("coverage", "share_ignored")}
    return card | changed | {"kept_churn": quality["churn"], "classes": rows}
