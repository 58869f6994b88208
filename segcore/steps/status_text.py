"""A run's status as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from segcore.steps.status import RoundStatus, RunStatus, Shards

HEADER = ("run", "state", "rounds", "best mIoU", "last change")


def runs_table(runs: Sequence[RunStatus], now: datetime) -> str:
    """Return one line a run under a header. now: with time zone."""
    rows = [HEADER, *(run_row(run, now) for run in runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def run_row(run: RunStatus, now: datetime) -> tuple[str, ...]:
    """Return a run's cells in the table of all runs."""
    best = run.best
    score = "-" if best is None or best.miou is None else f"{best.miou.point:.4f} (round {best.round_index})"
    return run.run_id, run.state, str(len(run.rounds)), score, "-" if run.changed is None else ago(run.changed, now)


def run_text(run: RunStatus, now: datetime) -> str:
    """Return all that is known of one run. now: with time zone."""
    return "\n".join(run_lines(run, now))


def run_lines(run: RunStatus, now: datetime) -> Iterator[str]:
    """Yield the lines of one run."""
    changed = "" if run.changed is None else f", last change {ago(run.changed, now)}"
    yield f"{run.run_id}: {run.state}{changed}   {run.folder}"
    if run.holder is not None:
        yield f"  held by {run.holder}"
    for item in run.rounds:
        yield f"  {round_line(item)}"
        yield from (f"    alarm: {text}" for text in item.alarms)
    if run.final_shards is not None:
        yield f"  final labelling: {shards_text(run.final_shards)}"
    if run.current and run.state != "finished":
        yield f"  {'now' if run.state == 'working' else 'was at'}: {', '.join(run.current)}"
    if run.training is not None:
        yield f"  {training_line(run, now)}"
    if run.winner_index is not None:
        yield f"  best round {run.winner_index}; stopped because {run.stop_reason}"
    if run.refit:
        yield "  final refit on all labels in outputs/refit/: not scored"
    if run.num_quarantined:
        yield f"  {run.num_quarantined} images quarantined (reasons in the report and in events.jsonl)"
    if run.num_set_aside:
        yield f"  {run.num_set_aside} damaged files or folders set aside in {run.folder / 'quarantine'}"
    if run.last_error is not None:
        yield f"  last error: {run.last_error.splitlines()[0]}"
    if run.state == "waiting":
        yield f"  a person has to say whether the next round may start: segloop approve {run.run_id} [--no]"
    if run.state in ("stopped", "interrupted"):
        yield "  start it again with the same command to go on where it stopped"


def round_line(item: RoundStatus) -> str:
    """Return a round's scores and shards in one line."""
    parts = []
    if item.shards is not None:
        parts.append(shards_text(item.shards))
    if item.miou is None:
        parts.append("not scored yet")
    else:
        interval = f"{item.miou.low:.4f} … {item.miou.high:.4f}"
        parts.append(f"mIoU {item.miou.point:.4f} ({interval}) on {item.num_images} gate images: {item.outcome}")
    if item.stale:
        parts.append("from before the change; will be redone where it matters")
    return f"round {item.round_index}: {', '.join(parts)}"


def shards_text(shards: Shards) -> str:
    """Return "3 of 8 shards labelled"."""
    return f"{shards.num_done} of {'?' if shards.num_total is None else shards.num_total} shards labelled"


def training_line(run: RunStatus, now: datetime) -> str:
    """Return how far a training is; with the time left only while somebody works on it."""
    training = run.training
    assert training is not None, "only with a training"
    text = f"{training.place}: iteration {training.iteration} of {training.num_iterations}, loss {training.loss:.4f}"
    if run.state != "working":
        return f"{text}, waits to be resumed"
    left = max(0.0, training.eta_s - (now - training.written).total_seconds())
    return f"{text}, ETA {duration(left)}"


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago something was, roughly."""
    return f"{duration(max(0.0, (now - then.astimezone(UTC)).total_seconds()))} ago"


def duration(seconds: float) -> str:
    """Return a time in the two largest units that matter.

    >>> duration(45), duration(125), duration(3700), duration(90000)
    ('45 s', '2 min 5 s', '1 h 1 min', '1 d 1 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
