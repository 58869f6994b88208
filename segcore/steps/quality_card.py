"""The inspect step: the quality card of filtered pseudo-labels, and what its alarms call for.

All of it follows from run files, so that a resume decides the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segcore.pseudo.build import QUALITY, THRESHOLDS, write_json
from segcore.pseudo.card import CardSpec, full_card
from segcore.pseudo.histograms import read_calib_histogram
from segcore.pseudo.thresholds import Thresholds
from segcore.records import RoundRecord, StepOutput
from segcore.steps.index import class_map_of, pool_of
from segcore.steps.pseudo_labels import CALIB_HISTOGRAM, Calibration, FilterSpec, prediction_paths, shard_digests
from segcore.steps.run import Run
from segcore.steps.stored_alarms import CARD
from segcore.steps.train import PseudoLabels
from segcore.store.layout import card_place
from segcore.store.manifest import read_manifest
from segcore.store.steps import Step
from segcore.trust.alarms import Actions, actions_of, find_alarms

VERSION = 1


@dataclass(frozen=True)
class InspectSpec:
    """Filtered pseudo-labels, what they were filtered from, and the rounds before."""

    filter: FilterSpec
    calibration: Calibration
    draft: PseudoLabels
    history: tuple[RoundRecord, ...]

    @property
    def run(self) -> Run:
        """Return the run."""
        return self.filter.run


def inspect_step(spec: InspectSpec) -> Step:
    """Return the inspect step: labels, predictions and calibration, the cards before, the alarms' config."""
    run, last = spec.run, last_card(spec.history)
    first = first_card(spec.history)
    inputs = {
        "labels": spec.draft.output.digest,
        "shards": shard_digests(spec.filter),
        "calibration": spec.calibration.output.digest,
        "last": None if last is None else last.digest,
        "first": None if first is None else first.digest,
        "alarms": run.config.alarms.model_dump(mode="json"),
        "seed": run.config.loop.seed,
    }
    return Step("inspect", VERSION, card_place(spec.filter.round_index), inputs)


def last_card(history: Sequence[RoundRecord]) -> StepOutput | None:
    """Return the card of the last round; None when that had no pseudo-labels."""
    return history[-1].card if history else None


def first_card(history: Sequence[RoundRecord]) -> StepOutput | None:
    """Return the card of the first round with pseudo-labels; None where that is the last round too."""
    return next((record.card for record in history[:-1] if record.card is not None), None)


def build_card(spec: InspectSpec, work: Path) -> dict[str, Any]:
    """Write the card with its alarms; return what later rounds need of this one."""
    run = spec.run
    draft, last, first = run.path / spec.draft.output.path, last_card(spec.history), first_card(spec.history)
    card = full_card(
        CardSpec(
            quality=read_json(draft / QUALITY),
            thresholds=Thresholds.from_json(read_json(draft / THRESHOLDS)),
            calib=read_calib_histogram(run.path / spec.calibration.output.path / CALIB_HISTOGRAM),
            pool=frozenset(image.image_id for image in pool_of(run, spec.filter.index)),
            predictions=prediction_paths(spec.filter),
            last=None if last is None else predictions_of(run, last),
            first=None if first is None else predictions_of(run, first),
            seed=run.config.loop.seed,
        )
    )
    before = None if last is None else read_card(run.path / last.path)
    alarms = find_alarms(card, before, run.config.alarms)
    actions = actions_of(alarms, class_map_of(run, spec.filter.index).names)
    good = {class_id: source_of(run, spec.history, class_id) for class_id in actions.frozen}
    frozen = {str(class_id): record.round_index for class_id, record in good.items() if record is not None}
    noted = asdict(actions) | {"kept_from": frozen}
    write_json(work / CARD, card | {"alarms": [asdict(alarm) for alarm in alarms], "actions": noted})
    files = [run.layout.relative(path) for path in prediction_paths(spec.filter)]
    return {"num_images": card["num_images"], "actions": asdict(actions), "predictions": files}


def predictions_of(run: Run, card: StepOutput) -> tuple[Path, ...]:
    """Return the prediction files that the labels of a card were filtered from."""
    value: Any = read_manifest(run.path / card.path).value
    return tuple(run.path / path for path in value["predictions"])


def actions_in(value: Any) -> Actions:
    """Return the actions in the value of a published card."""
    found = value["actions"]
    return Actions(tuple(found["frozen"]), tuple(found["raised"]), found["stop"])


def source_of(run: Run, history: Sequence[RoundRecord], class_id: int) -> RoundRecord | None:
    """Return the last round whose labels of a class were good: not frozen, its student not judged worse; else None."""
    for record in reversed(history):
        if record.card is None or record.decision.outcome == "worse":
            continue
        if class_id not in actions_in(read_manifest(run.path / record.card.path).value).frozen:
            return record
    return None


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card that a published step holds."""
    return read_json(folder / CARD)


def read_json(path: Path) -> dict[str, Any]:
    """Return the contents of a JSON file."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
