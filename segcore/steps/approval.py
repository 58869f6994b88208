"""A person's word before a round: asked for when loop.require_approval is set, kept in the round's approval.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError

from segcore.errors import ApprovalNeeded, RunError
from segcore.records import Interval, RoundRecord
from segcore.steps.run import Run
from segcore.store.canonical import canonical_json
from segcore.store.durable import make_folders, replace_file
from segcore.store.events import append_event, read_events
from segcore.trust.loop_policy import winner


@dataclass(frozen=True)
class Approval:
    """What a person said. seen: digest of the rounds they saw. note: their reason, may be empty."""

    go_on: bool
    note: str
    seen: str


def read_approval(run: Run, history: Sequence[RoundRecord]) -> Approval | None:
    """Return what was said about the round after history; None when nobody did, or about other scores than these."""
    path = run.layout.approval_file(len(history))
    try:
        approval = Approval(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise RunError(f"{path} must be what `segloop approve` writes, and is damaged ({error}); delete it") from None
    return approval if approval.seen == digest_of(history) else None


def write_approval(run: Run, history: Sequence[RoundRecord], go_on: bool, note: str = "") -> Approval:
    """Note what a person said about the round after history."""
    approval = Approval(go_on, note, digest_of(history))
    make_folders(run.layout.round_dir(len(history)))
    text = json.dumps(asdict(approval), indent=1) + "\n"
    replace_file(run.layout.approval_file(len(history)), text.encode())
    append_event(run.path, "approved" if go_on else "refused", round_index=len(history), note=note)
    return approval


def digest_of(history: Sequence[RoundRecord]) -> str:
    """Return what tells one state of affairs from another: students and their scores."""
    seen = [[record.student.digest, record.evaluation.digest] for record in history]
    return hashlib.sha256(canonical_json(seen).encode()).hexdigest()


def refusal(run: Run, history: Sequence[RoundRecord]) -> str | None:
    """Return why the next round may not start; None when it may, or when that is still to be asked."""
    if not history or not run.config.loop.require_approval:
        return None
    approval = read_approval(run, history)
    if approval is None or approval.go_on:
        return None
    return f"round {len(history)} was not approved" + (f": {approval.note}" if approval.note else "")


def must_ask(run: Run, history: Sequence[RoundRecord]) -> bool:
    """Return whether a person has to be asked before the round after history."""
    return bool(history) and run.config.loop.require_approval and read_approval(run, history) is None


def approval_needed(run: Run, history: Sequence[RoundRecord]) -> ApprovalNeeded:
    """Return what a person at a terminal is told."""
    number = len(history)
    return ApprovalNeeded(
        f"round {number} of run {run.run_id} waits for a person's approval (loop.require_approval); so far:\n"
        + "\n".join(f"  {line}" for line in lines_of(history))
        + f"\nsay `segloop approve {run.run_id}`, or `segloop approve {run.run_id} --no` to end on the best round; "
        "then start the run again"
    )


def approve(run: Run, go_on: bool, note: str = "") -> int:
    """Answer for the round that a run waits for; return its index. RunError when it waits for none.

    Takes no lock: the run that waits has ended, and a Prefect run that is suspended holds none.
    """
    events = list(read_events(run.path))
    if not events or events[-1]["event"] not in ("waiting", "approved", "refused"):
        raise RunError(f"run {run.run_id} must wait for approval, and does not; see `segloop status {run.run_id}`")
    number = int(events[-1]["round_index"])
    write_approval(run, [read_round(run, index) for index in range(number)], go_on, note)
    return number


def read_round(run: Run, round_index: int) -> RoundRecord:
    """Return a finished round as round.json tells it."""
    path = run.layout.round_file(round_index)
    try:
        return TypeAdapter(RoundRecord).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(f"{path} must be a finished round, and is not ({error}); start the run again") from None


def question(run: Run, history: Sequence[RoundRecord]) -> str:
    """Return the question as Markdown: every round so far with its numbers."""
    rows = [
        f"| {record.round_index} | {interval_text(record.score.miou)} | {delta_text(record)} | "
        f"{record.decision.outcome} |"
        for record in history
    ]
    reasons = [f"- {reason}" for reason in history[-1].decision.reasons]
    best = winner(history).round_index
    asked = f"**May round {len(history)} of run {run.run_id} start?** The best so far is round {best}."
    return "\n".join([asked, "", "| round | gate mIoU | change | gate |", "|---|---|---|---|", *rows, "", *reasons])


def lines_of(history: Sequence[RoundRecord]) -> list[str]:
    """Return one line a round."""
    return [
        f"round {record.round_index}: gate mIoU {interval_text(record.score.miou)}: {record.decision.outcome}"
        for record in history
    ]


def interval_text(value: Interval) -> str:
    """Return "0.5724 (0.5144 … 0.6292)"."""
    return f"{value.point:.4f} ({value.low:.4f} … {value.high:.4f})"


def delta_text(record: RoundRecord) -> str:
    """Return a round's change against the best before it; a dash for round 0."""
    delta = record.decision.delta
    return "–" if delta is None else f"{delta.point:+.4f} ({delta.low:+.4f} … {delta.high:+.4f})"
