"""A plan as lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from segcore.steps.plan import Plan
from segcore.steps.plan_estimate import QUICK_KINDS, Estimate
from segcore.steps.plan_steps import PlannedStep
from segcore.steps.status_text import duration

MAX_NAMES = 4
LABELS = {"reuse": "reuse", "redo": "redo because", "new": "new", "after": "after", "again": "again", "refused": "no"}


def plan_text(plan: Plan, needs: Estimate) -> str:
    """Return a plan with its estimate."""
    return "\n".join([*head(plan), *map(step_line, plan.steps), plan.ending, *estimate_lines(plan, needs)])


def head(plan: Plan) -> Iterator[str]:
    """Yield what stands before the steps: the run, and what changed since it was started."""
    yield f"{plan.folder.name}: {plan.folder}"
    if plan.changes:
        yield "the config is not the one this run was started with:"
        yield from (f"  {change}" for change in plan.changes)
    if plan.stale_data:
        yield "the data are not those this run was started with (see index)"
    if plan.changes or plan.stale_data:
        yield "--update is needed to go on with this run and redo what depends on the change; or use another --run-id"


def step_line(step: PlannedStep) -> str:
    """Return one step's line.

    >>> step_line(PlannedStep("round_00/student", "redo", ("train.lr",)))
    '  round_00/student              redo because train.lr'
    """
    names = ", ".join(step.because[:MAX_NAMES])
    more = f" and {len(step.because) - MAX_NAMES} more" if len(step.because) > MAX_NAMES else ""
    note = f"  ({step.note})" if step.note else ""
    return f"  {step.place:<28}  {LABELS[step.verdict]} {names}{more}".rstrip() + note


def estimate_lines(plan: Plan, needs: Estimate) -> Iterator[str]:
    """Yield time and disk."""
    works = [step.work for step in plan.steps if step.work is not None]
    if not works:
        yield "time: seconds; disk: next to nothing"
        return
    yield f"time: {time_text(needs)}"
    disk = f"about {size_text(needs.file_bytes)} of new files"
    spare = f", {size_text(needs.spare_bytes)} more while training" if needs.spare_bytes else ""
    yield f"disk: {disk}{spare}"


def time_text(needs: Estimate) -> str:
    """Return the time by kind, and what was never measured."""
    unknown = f"no estimate yet for {', '.join(needs.unknown)} (nothing comparable was run here)"
    slow = {kind: seconds for kind, seconds in needs.seconds.items() if kind not in QUICK_KINDS}
    if not slow:
        return unknown if needs.unknown else f"about {duration(sum(needs.seconds.values()))}"
    parts = ", ".join(f"{kind} {duration(seconds)}" for kind, seconds in slow.items())
    total = f"about {duration(sum(needs.seconds.values()))} ({parts}; as measured in {', '.join(needs.runs)})"
    return f"{total}; {unknown}" if needs.unknown else total


def size_text(num_bytes: float) -> str:
    """Return a file size in MB or GB.

    >>> size_text(3_400_000), size_text(2_500_000_000)
    ('3 MB', '2.5 GB')
    """
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
