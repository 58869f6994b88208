"""The part of a plan that comes after the filter: the quality card, and what its alarms change."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from segcore.steps.inspect_labels import Inspection, guard_step, inspection_of
from segcore.steps.plan_work import RunSize, Work
from segcore.steps.quality_card import InspectSpec, inspect_step
from segcore.store.publish import Published
from segcore.store.steps import Step


class Meets(Protocol):
    """Looks a step up and notes what was found (Walk in segcore/steps/plan.py)."""

    def meet(self, step: Step, work: Work) -> Published | None:
        """Return the step's result, None when it must be made."""


def planned_inspection(walk: Meets, spec: InspectSpec, size: RunSize) -> Inspection | None:
    """Walk card and guard; None when one of them is still to be made."""
    found = walk.meet(inspect_step(spec), size.inspect_work())
    if found is None:
        return None
    guard = guard_step(spec, found)
    if guard is None:
        return inspection_of(spec, found, None)
    guarded = walk.meet(guard, replace(size.filter_work(), kind="guard"))
    return None if guarded is None else inspection_of(spec, found, guarded)
