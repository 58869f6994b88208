"""How a run stands, from its files alone: no model library, no Prefect, no lock is taken, nothing is written."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from segcore.pseudo.shards import num_shards_for
from segcore.records import Interval
from segcore.steps.stored_alarms import alarms_in, newest_card
from segcore.store.events import read_events
from segcore.store.layout import FINAL, RESUME_SUFFIX, RunLayout, round_name
from segcore.store.lock import Holder, lock_holder
from segcore.store.steps import KEY_CHARS

PROGRESS = "progress.jsonl"
TAIL_BYTES = 4096

State = Literal["working", "finished", "stopped", "waiting", "interrupted", "not started"]
ENDINGS: Mapping[str, State] = {  # of an event that a run ended with; any other one was cut short
    "finished": "finished", "stopped": "stopped", "waiting": "waiting", "approved": "stopped", "refused": "stopped",
}  # fmt: skip
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """The newest line of a training that is not published yet. eta_s: seconds left when it was written."""

    place: str
    iteration: int
    num_iterations: int
    loss: float
    eta_s: float
    written: datetime


@dataclass(frozen=True)
class Shards:
    """Shards of one labelling. num_total: of the labelling's plan; while it runs, a count that may be too high by the
    shards that no image falls into; None when the run has no index yet."""

    num_done: int
    num_total: int | None


@dataclass(frozen=True)
class RoundStatus:
    """One round. outcome, miou: None until the gate has decided. stale: decided before the config was changed.

    alarms: of its pseudo-labels, a sentence each.
    """

    round_index: int
    outcome: str | None
    miou: Interval | None
    num_images: int | None
    shards: Shards | None
    stale: bool
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunStatus:
    """One run. current: places of the steps that were begun and not ended, in order of their start.

    final_shards: of the labelling by the winner. refit: whether outputs/ hold a final refit. num_quarantined: images
    that were set aside; num_set_aside: files of steps that failed their check. last_error: what the last attempt that
    failed said. stop_reason, winner_index: of a finished loop.
    """

    run_id: str
    folder: Path
    state: State
    holder: Holder | None
    rounds: tuple[RoundStatus, ...]
    current: tuple[str, ...]
    training: Training | None
    final_shards: Shards | None
    refit: bool
    num_quarantined: int
    num_set_aside: int
    last_error: str | None
    stop_reason: str | None
    winner_index: int | None
    changed: datetime | None

    @property
    def best(self) -> RoundStatus | None:
        """Return the round with the best mIoU, the earliest of equals."""
        scored = [item for item in self.rounds if item.miou is not None and not item.stale]
        return max(scored, key=lambda item: (item.miou.point if item.miou else 0.0, -item.round_index), default=None)


def run_status(run_dir: Path) -> RunStatus:
    """Return how a run stands. Damaged or missing files leave their part out; they never fail the whole."""
    layout = RunLayout(run_dir)
    events = list(read_events(run_dir))
    holder = lock_holder(run_dir)
    state = state_of(events, holder)
    session = last_session(events)
    summary = index_summary(run_dir)
    config = config_of(run_dir)
    outputs = [event for event in session if event["event"] == "outputs"]
    errors = [str(event.get("error")) for event in events if event["event"] == "stopped"]
    return RunStatus(
        run_id=run_dir.name,
        folder=run_dir,
        state=state,
        holder=holder,
        rounds=tuple(round_status(layout, index, events, (config, summary)) for index in round_indices(run_dir)),
        current=unended(session),
        training=None if state == "finished" else newest_training(run_dir),
        final_shards=shards_status(FINAL, events, (config, summary)),
        refit=layout.refit_dir.is_dir(),
        num_quarantined=len(summary.get("quarantined", ())) + num_quarantined_later(events),
        num_set_aside=num_entries(layout.quarantine_dir),
        last_error=errors[-1] if errors and state != "finished" else None,
        stop_reason=str(outputs[-1].get("reason")) if outputs else None,
        winner_index=outputs[-1].get("winner") if outputs else None,
        changed=time_of(events[-1]) if events else None,
    )


def state_of(events: Sequence[Event], holder: Holder | None) -> State:
    """Return what a run is doing: its lock tells whether somebody works on it, its last event how it ended."""
    if holder is not None:
        return "working"
    if not events:
        return "not started"
    return ENDINGS.get(str(events[-1]["event"]), "interrupted")


def last_session(events: Sequence[Event]) -> Sequence[Event]:
    """Return the events since the run was last opened."""
    starts = [number for number, event in enumerate(events) if event["event"] == "opened"]
    return events[starts[-1] :] if starts else events


def unended(session: Sequence[Event]) -> tuple[str, ...]:
    """Return the places of steps that were started and neither done nor reused since, in order."""
    open_places: dict[str, None] = {}
    for event in session:
        place = str(event.get("place"))
        if event["event"] == "step_started":
            open_places[place] = None
        elif event["event"] in ("step_done", "step_reused"):
            open_places.pop(place, None)
    return tuple(open_places)


def round_indices(run_dir: Path) -> tuple[int, ...]:
    """Return the indices of the rounds that have a folder."""
    names = [folder.name.removeprefix("round_") for folder in run_dir.glob("round_*") if folder.is_dir()]
    return tuple(sorted(int(name) for name in names if name.isdigit()))


def round_status(
    layout: RunLayout, round_index: int, events: Sequence[Event], plan: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> RoundStatus:
    """Return how a round stands. plan: the run's config and its index's summary."""
    outcome, miou, num_images, card = None, None, None, newest_card(layout.round_dir(round_index))
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(layout.round_file(round_index).read_bytes())
        score = record["score"]
        outcome = str(record["decision"]["outcome"])
        miou, num_images = Interval(**score["miou"]), int(score["num_images"])
        card = record["card"] and layout.run_dir / record["card"]["path"]
    return RoundStatus(
        round_index=round_index,
        outcome=outcome,
        miou=miou,
        num_images=num_images,
        shards=shards_status(round_name(round_index), events, plan),
        stale=outcome is not None and is_stale(round_index, events),
        alarms=alarms_in(card),
    )


def is_stale(round_index: int, events: Sequence[Event]) -> bool:
    """Return whether the run was told to redo what changed, and has not come to this round's decision since."""
    session = last_session(events)
    if not session or not session[0].get("update") or session[-1]["event"] == "finished":
        return False
    return not any(event["event"] == "decided" and event.get("round_index") == round_index for event in session)


def shards_status(
    part: str, events: Sequence[Event], plan: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> Shards | None:
    """Return the shards done and planned of a labelling; None when none was begun. part: round_NN, or final."""
    prefix = f"{part}/labels/"
    session = last_session(events)
    relevant = session if any(str(event.get("place", "")).startswith(prefix) for event in session) else events
    begun = {str(event["place"]) for event in relevant if str(event.get("place", "")).startswith(prefix)}
    if not begun:
        return None
    done = {
        str(event["place"])
        for event in relevant
        if event["event"] in ("step_done", "step_reused") and str(event.get("place", "")).startswith(prefix)
    }
    calibrated = any(event.get("place") == f"{part}/calibration" for event in relevant)
    total = len(begun) if calibrated else planned_shards(*plan, final=part == FINAL)
    return Shards(len(done), None if total is None else max(total, len(begun)))


def planned_shards(config: Mapping[str, Any], summary: Mapping[str, Any], final: bool) -> int | None:
    """Return how many shards a labelling has, but for those no image falls into; None without config or index."""
    try:
        label, counts = config["label"], summary["num_images"]
        num_test = counts.get("test", 0) if final or config["pool"]["use_test"] else 0
        num_pool = counts.get("unlabeled", 0) + num_test
        num_images = min(num_pool, config["pool"].get("max_images") or num_pool) + counts.get("calib", 0)
        return int(label["num_shards"] or num_shards_for(num_images, label["images_per_shard"]))
    except (KeyError, TypeError, AttributeError):
        return None


def newest_training(run_dir: Path) -> Training | None:
    """Return the progress of the training that wrote last and is not published; None when there is none."""
    files = [(path.stat().st_mtime, path) for path in run_dir.glob(f"*/*{RESUME_SUFFIX}/{PROGRESS}")]
    for modified, path in sorted(files, reverse=True):
        line = last_line(path)
        if line is None:
            continue
        place = path.parent.relative_to(run_dir).as_posix().removesuffix(RESUME_SUFFIX)[: -KEY_CHARS - 1]
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return Training(
                place=place,
                iteration=int(line["iteration"]),
                num_iterations=int(line["num_iterations"]),
                loss=float(line["loss"]),
                eta_s=float(line.get("eta_s") or 0.0),
                written=datetime.fromtimestamp(modified, UTC),
            )
    return None


def last_line(path: Path) -> dict[str, Any] | None:
    """Return the last whole JSON object of a file of lines; None when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                return record
    return None


def index_summary(run_dir: Path) -> Mapping[str, Any]:
    """Return the newest index's summary.json; empty when there is none."""
    found = sorted(run_dir.glob(f"index.{'[0-9a-f]' * KEY_CHARS}/summary.json"), key=lambda path: path.stat().st_mtime)
    with contextlib.suppress(OSError, ValueError, IndexError):
        summary = json.loads(found[-1].read_bytes())
        return summary if isinstance(summary, dict) else {}
    return {}


def config_of(run_dir: Path) -> Mapping[str, Any]:
    """Return the config in run.json as plain JSON; empty when it cannot be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        config = json.loads(RunLayout(run_dir).run_file.read_bytes())["config"]
        return config if isinstance(config, dict) else {}
    return {}


def num_quarantined_later(events: Sequence[Event]) -> int:
    """Return how many images labelling could not read or survive."""
    return len({event.get("image_id") for event in events if event["event"] == "quarantined"})


def num_entries(folder: Path) -> int:
    """Return the number of entries of a folder; 0 when there is none."""
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def time_of(event: Event) -> datetime | None:
    """Return when an event was written."""
    try:
        return datetime.fromisoformat(str(event["time"]))
    except (KeyError, ValueError):
        return None
