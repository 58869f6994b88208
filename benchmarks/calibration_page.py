"""The page of a simulation of bounds and promises: caveats first."""

from __future__ import annotations

from typing import Any

from benchmarks.page import last_lines

CAVEATS = """Read with care. These are drawn numbers, not a model on photos (benchmarks/calibration_worlds.py).
They show what the methods do where their one assumption holds, that calib and pool are alike, and pixels of one image
are not independent. Where the pool is unlike calib, nothing here promises anything. Shares of {trials} simulated calib
sets: a coverage of 0.95 is known to about 0.014."""


def page(result: dict[str, Any], stamp: str) -> str:
    """Return the result as a page."""
    lines = [
        f"# Whether bounds and promises of precision hold, {stamp}",
        "",
        CAVEATS.format(trials=result["trials"]),
        "",
        "## How often a 95 % lower bound of the precision is below the truth",
        "",
        "At the threshold that half of a class's pixels reach. In brackets: the median bound. Bootstrap: images drawn "
        "with replacement, 5 % quantile; Bayesian: weights from Exp(1), tail widened for few images.",
        "",
        "| world | true precision | images | segloop | bootstrap | Bayesian bootstrap |",
        "|---|---|---|---|---|---|",
        *(bound_row(world["name"], size) for world in result["worlds"] for size in world["sizes"]),
        "",
        "## What the policy `calibrated` makes of it",
        "",
        "Promised: calib sets with a promise. Broken: those whose promise is false. Kept: mean share of the class's "
        "pixels under a promise, of what could be kept. No promise: calib sets that label the class without one, "
        "and how many of all label it with too low a precision. At its word: calib sets in which the lowest threshold "
        "that reaches the target on calib does not reach it in truth.",
        "",
        "| world | target | images | promised | broken | kept, of possible | no promise, too low "
        "| at its word, too low |",
        "|---|---|---|---|---|---|---|---|",
        *(
            policy_row(world["name"], size["images"], policy, possible["possible"])
            for world in result["worlds"]
            for size in world["sizes"]
            for policy, possible in zip(size["policies"], world["targets"], strict=True)
        ),
    ]
    return "\n".join(lines + last_lines(result["environment"], "calibration"))


def bound_row(name: str, size: dict[str, Any]) -> str:
    """Return the coverages of one world and size."""
    shown = (f"{bound['holds']:.3f} ({bound['median']:.2f})" for bound in size["bounds"].values())
    return f"| {name} | {size['precision']:.3f} | {size['images']} | {' | '.join(shown)} |"


def policy_row(name: str, images: int, policy: dict[str, float], possible: float) -> str:
    """Return what became of one world, target and size."""
    cells = (
        name,
        policy["target"],
        images,
        f"{policy['promised']:.3f}",
        f"{policy['broken']:.3f}",
        f"{policy['kept']:.2f} of {possible:.2f}",
        f"{policy['unpromised']:.3f}, {policy['unpromised_short']:.3f}",
        f"{policy['naive_short']:.3f}",
    )
    return f"| {' | '.join(map(str, cells))} |"
