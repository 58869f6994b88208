"""Do bounds and promises of precision hold, on simulated images whose pixels are right or wrong together?"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import click
import numpy as np

from benchmarks.calibration_page import page
from benchmarks.calibration_worlds import WORLDS, Truth, World, draw, truth_of
from benchmarks.environment import describe
from benchmarks.page import write_page
from segcore.pseudo.calib_counts import ClassCounts
from segcore.pseudo.calibrated import calibrated_cut
from segcore.pseudo.confidence import NO_LEVEL
from segcore.trust.bootstrap import widened_tail
from segcore.trust.precision import ERROR, precision, precision_bound

SIZES = (6, 12, 30, 60, 200)
TARGETS = (0.8, 0.9)
NUM_DRAWS = 500  # of a bootstrap
HALF = 0.5  # bounds are compared at the threshold that half of the class's pixels reach


@click.command("calibration")
@click.option("--trials", default=1000, show_default=True, help="Simulated calib sets of each world and size.")
def calibration(trials: int) -> None:
    """Measure how often bounds and promises of precision hold."""
    worlds = []
    for number, world in enumerate(WORLDS):
        truth = truth_of(world)
        sizes = [measure(world, truth, size, trials, np.random.default_rng([number, size])) for size in SIZES]
        worlds.append({"name": world.name, "targets": [what_is_possible(truth, t) for t in TARGETS], "sizes": sizes})
    write_page("calibration", {"environment": describe(), "trials": trials, "worlds": worlds}, page)


def what_is_possible(truth: Truth, target: float) -> dict[str, float]:
    """Return the share of the class's pixels that could be kept by who knows the truth."""
    reached = np.flatnonzero(truth.precision >= target)
    return {"target": target, "possible": float(truth.share[reached[0]]) if reached.size else 0.0}


def measure(world: World, truth: Truth, num_images: int, trials: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return coverage and height of the bounds, and what became of the promises."""
    bounds: dict[str, list[float]] = {name: [] for name in BOUNDS}
    outcomes: dict[float, list[dict[str, float]]] = {target: [] for target in TARGETS}
    level = int(np.flatnonzero(truth.share >= HALF)[-1])
    for _ in range(trials):
        counts = draw(world, num_images, rng)
        at_level = ClassCounts(counts.count[:, level], counts.correct[:, level])
        for name, bound in BOUNDS.items():
            bounds[name].append(bound(at_level, rng))
        for target, found in outcomes.items():
            found.append(outcome(counts, truth, target))
    true = truth.precision[level]
    return {
        "images": num_images,
        "precision": float(true),
        "bounds": {
            name: {"holds": float(np.mean(np.array(values) <= true)), "median": statistics.median(values)}
            for name, values in bounds.items()
        },
        "policies": [{"target": target, **means(found)} for target, found in outcomes.items()],
    }


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each figure."""
    return {name: statistics.fmean(row[name] for row in rows) for name in rows[0]}


def outcome(counts: ClassCounts, truth: Truth, target: float) -> dict[str, float]:
    """Return what `calibrated` makes of one calib set, and what taking its precision at its word would."""
    cut = calibrated_cut(counts, counts, target)
    reached = np.flatnonzero(np.nan_to_num(precision(counts.count, counts.correct)) >= target)
    naive = int(reached[0]) if reached.size else NO_LEVEL
    promised, labelled = cut.promise == "promised", cut.promise == "no promise"
    return {
        "promised": promised,
        "broken": promised and is_short(truth, cut.level, target),
        "kept": share_at(truth, cut.level) if promised else 0.0,
        "unpromised": labelled,
        "unpromised_short": labelled and is_short(truth, cut.level, target),
        "naive_short": is_short(truth, naive, target),
    }


def is_short(truth: Truth, level: int, target: float) -> bool:
    """Return whether less than the target is right from a level up."""
    return level != NO_LEVEL and bool(truth.precision[level] < target)


def share_at(truth: Truth, level: int) -> float:
    """Return the share of the class's pixels from a level up."""
    return 0.0 if level == NO_LEVEL else float(truth.share[level])


def ours(counts: ClassCounts, rng: np.random.Generator) -> float:  # noqa: ARG001
    """Return segloop's bound. counts: (N,) at one level."""
    return float(precision_bound(counts.count, counts.correct))


def bootstrap(counts: ClassCounts, rng: np.random.Generator) -> float:
    """Return the 5 % quantile over images drawn with replacement."""
    weights = rng.multinomial(len(counts.count), np.full(len(counts.count), 1 / len(counts.count)), NUM_DRAWS)
    return float(np.quantile((weights @ counts.correct) / np.maximum(weights @ counts.count, 1), ERROR))


def bayesian(counts: ClassCounts, rng: np.random.Generator) -> float:
    """Return the same of a Bayesian bootstrap whose tail is widened for few images, as the gate does it."""
    weights = rng.standard_exponential((NUM_DRAWS, len(counts.count)))
    ratios = (weights @ counts.correct) / (weights @ counts.count)
    return float(np.quantile(ratios, widened_tail(ERROR, len(counts.count))))


Bound = Callable[[ClassCounts, np.random.Generator], float]
BOUNDS: dict[str, Bound] = {"segloop": ours, "bootstrap": bootstrap, "bayesian": bayesian}
