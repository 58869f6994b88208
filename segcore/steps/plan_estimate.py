"""Time and disk of a plan, from what steps of the same kind took before; nothing is promised without a measurement."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from segcore.config.schema import RunConfig
from segcore.config.student_schema import ConsistencyConfig
from segcore.errors import SegloopError
from segcore.steps.plan import Plan
from segcore.steps.plan_work import checkpoint_share, train_amount, views_amount
from segcore.steps.run_folders import run_folders
from segcore.steps.status import config_of
from segcore.store.events import read_events
from segcore.store.manifest import Manifest, read_manifest

NUM_SAMPLES = 32  # newest finished steps of a kind that are looked at in a run
# of no weight where they were never measured
QUICK_KINDS = frozenset({"index", "calibrate", "filter", "inspect", "guard", "import", "ensemble"})


@dataclass(frozen=True)
class Estimate:
    """What a plan needs.

    seconds: by kind, of kinds that were measured. unknown: kinds to be done that were not. runs: where it was measured.
    file_bytes: of new files, weights included as far as known; spare_bytes: for resume checkpoints of one training.
    """

    seconds: Mapping[str, float]
    unknown: tuple[str, ...]
    runs: tuple[str, ...]
    file_bytes: float
    spare_bytes: float


@dataclass(frozen=True)
class Sample:
    """A finished step: when it ran, in seconds, and the amount of work it did."""

    start_s: float
    end_s: float
    amount: float


def estimate(plan: Plan, config: RunConfig) -> Estimate:
    """Return the time and disk of a plan, measured in its own run or in others beside it on the same device."""
    amounts: dict[str, float] = defaultdict(float)
    works = [step.work for step in plan.steps if step.work is not None]
    for work in works:
        amounts[work.kind] += work.amount
    seconds, runs = {}, []
    histories = comparable_runs(plan.folder, config)
    for kind, amount in amounts.items():
        for folder in histories:
            rate = seconds_per_unit(folder, kind)
            if rate is not None:
                seconds[kind] = rate * amount
                runs.append(folder.name)
                break
    weights = next((size for folder in histories if (size := weights_bytes(folder)) is not None), 0.0)
    num_trainings = sum(work.kind in ("train", "import") for work in works)
    kept = config.train.keep_checkpoints * checkpoint_share(config.student)
    return Estimate(
        seconds=seconds,
        unknown=tuple(kind for kind in amounts if kind not in seconds and kind not in QUICK_KINDS),
        runs=tuple(dict.fromkeys(runs)),
        file_bytes=sum(work.file_bytes for work in works) + num_trainings * weights,
        spare_bytes=kept * weights if num_trainings else 0.0,
    )


def comparable_runs(folder: Path, config: RunConfig) -> list[Path]:
    """Return the run itself and those beside it with the same model on the same device, newest first after itself."""
    beside = [found for found in run_folders(folder.parent) if found != folder]
    beside.sort(key=lambda found: found.stat().st_mtime, reverse=True)
    wanted = nature(config.model_dump(mode="json"))
    return [found for found in (folder, *beside) if nature(config_of(found)) == wanted]


def nature(config: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return what a run's speed depends on besides its sizes; None for a run without a config."""
    try:
        model, runtime = config["model"], config["runtime"]
        members = config.get("ensemble", {}).get("members", [])
        return *(network_nature(network) for network in (model, *members)), runtime["device"]
    except KeyError:
        return None


def network_nature(network: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a network's speed depends on."""
    return network["preset"], network["config"], network["head_channels"]


def seconds_per_unit(run_dir: Path, kind: str) -> float | None:
    """Return the measured seconds per unit of a kind's work in a run; None when there is nothing to measure.

    Steps that ran side by side share the machine: the time in which any of them ran is divided by all their work.
    """
    found = list(samples(run_dir, kind))
    amount = sum(sample.amount for sample in found)
    return covered_s(found) / amount if amount > 0 else None


def covered_s(found: Sequence[Sample]) -> float:
    """Return the length of the union of the samples' times, in seconds.

    >>> covered_s([Sample(0, 10, 1), Sample(5, 12, 1), Sample(20, 21, 1)])
    13.0
    """
    total, reached = 0.0, float("-inf")
    for sample in sorted(found, key=lambda item: item.start_s):
        total += max(0.0, sample.end_s - max(sample.start_s, reached))
        reached = max(reached, sample.end_s)
    return total


def samples(run_dir: Path, kind: str) -> Iterator[Sample]:
    """Yield the newest finished steps of a kind whose folders are there, those left out that took several attempts."""
    events = list(read_events(run_dir))
    starts = Counter(
        f"{event.get('place')}.{str(event.get('key'))[:8]}" for event in events if event["event"] == "step_started"
    )
    done = [event for event in events if event["event"] == "step_done" and event.get("kind") == kind]
    for event in done[-NUM_SAMPLES:]:
        with contextlib.suppress(SegloopError, KeyError, TypeError, ValueError):
            if starts[event["folder"]] == 1:
                end_s = datetime.fromisoformat(event["time"]).timestamp()
                manifest = read_manifest(run_dir / event["folder"])
                yield Sample(end_s - float(event["seconds"]), end_s, amount_of(manifest))


def amount_of(manifest: Manifest) -> float:
    """Return the work a published step did, in the units of segcore/steps/plan_work.py."""
    inputs, value = manifest.inputs, manifest.value
    if manifest.kind == "train":
        given = inputs["student"]["consistency"]
        consistency = None if given is None else ConsistencyConfig.model_validate(given)
        return train_amount(inputs["iterations"], inputs["train"]["batch_size"], inputs["train"]["size"], consistency)
    if manifest.kind in ("label", "evaluate", "votes"):
        return views_amount(value["num_images"], inputs["views"]["sizes"], inputs["views"]["flip"])
    if manifest.kind == "index":
        return float(sum(value["num_images"].values()))
    return float(value.get("num_images", 1))


def weights_bytes(run_dir: Path) -> float | None:
    """Return the size of a student's weights in a run; None when there is none."""
    for path in sorted(run_dir.glob("round_*/student.????????/model.pth")):
        return float(path.stat().st_size)
    return None
