"""Does the gate keep its word? Simulated runs in which nothing is gained, and the gains that it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.environment import describe
from benchmarks.gate_scenes import NAMES, Scenes
from benchmarks.page import last_lines, write_page
from segcore.trust.confusion import iou_from
from segcore.trust.gate import GateSpec, gate, score

LEVEL = 0.05
RESAMPLES = 1000
TRUE_IMAGES = 20_000  # on which the true gain of a skill is measured
SKILLS = (1.1, 1.2, 1.3, 1.5, 1.8)  # of the student; the model before it has 1.0
HARMED = np.array([2.0, 2.0, 2.0, -2.0])  # better at all classes but the rare one


@dataclass(frozen=True)
class Case:
    """One kind of run. rare: share of the images with the rare class."""

    num_images: int
    rare: float
    num_rounds: int


NULL_CASES = (Case(12, 0.05, 3), Case(50, 0.05, 1), Case(50, 0.05, 3), Case(50, 0.3, 6), Case(150, 0.1, 3))
POWER_CASES = (Case(30, 0.3, 3), Case(71, 0.3, 3), Case(150, 0.3, 3))


def spec_of(case: Case, seed: int) -> GateSpec:
    """Return the gate of a case."""
    return GateSpec(LEVEL, case.num_rounds, RESAMPLES, seed, NAMES, baseline_round=0)


def null_run(case: Case, seed: int) -> tuple[bool, bool]:
    """Play a run whose models are all equally good; return whether it claimed a gain, and whether it claimed harm.

    Each round is gated against the best before it by point score, and its classes against its teacher, as in the loop.
    """
    rng = np.random.default_rng([case.num_images, case.num_rounds, seed])
    scenes = Scenes(case.num_images, case.rare, rng)
    spec, best = spec_of(case, seed), scenes.student(rng)
    teacher = best
    best_score, gained, harm = score(best, spec).miou.point, False, False
    for _ in range(case.num_rounds):
        student = scenes.student(rng)
        decision, result = gate(best, student, spec, teacher)
        gained, harm = gained or decision.outcome == "improved", harm or bool(decision.harmed)
        teacher = teacher if decision.outcome == "worse" else student
        if result.miou.point > best_score:
            best, best_score = student, result.miou.point
    return gained, harm


def found_gain(case: Case, skill: float, seed: int) -> tuple[bool, float]:
    """Gate one better student; return whether the gain was found, and which gain the gate says it misses half the
    time."""
    rng = np.random.default_rng([case.num_images, round(100 * skill), seed])
    scenes = Scenes(case.num_images, case.rare, rng)
    decision, _ = gate(scenes.student(rng), scenes.student(rng, skill), spec_of(case, seed))
    assert decision.delta is not None, "both were scored on the same images"
    return decision.outcome == "improved", decision.delta.point - decision.delta.low


def found_harm(case: Case, seed: int) -> tuple[bool, bool]:
    """Gate a student that is better but for the rare class; return whether harm was seen, and whether a gain was."""
    rng = np.random.default_rng([case.num_images, 7, seed])
    scenes = Scenes(case.num_images, case.rare, rng)
    teacher = scenes.student(rng)
    decision, _ = gate(teacher, scenes.student(rng, HARMED), spec_of(case, seed), teacher)
    return NAMES[-1] in decision.harmed, decision.outcome == "improved"


def true_changes(skill: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the change in IoU of each class of a skill over 1.0, on many images: (C,)."""
    rng = np.random.default_rng(0)
    scenes = Scenes(TRUE_IMAGES, 0.3, rng)
    return iou_from(scenes.student(rng, skill).total()) - iou_from(scenes.student(rng).total())


def measure(num_runs: int, num_gates: int) -> dict[str, Any]:
    """Return all figures. num_runs: simulated runs a case; num_gates: single gates a point of the power curve."""
    with ProcessPoolExecutor() as pool:
        nulls = [
            {**asdict(case), **shares(pool.map(null_run, [case] * num_runs, range(num_runs), chunksize=10), num_runs)}
            for case in NULL_CASES
        ]
        powers = [
            {
                "num_images": case.num_images,
                "true_gain": float(true_changes(skill).mean()),
                **power(pool, case, skill, num_gates),
            }
            for case in POWER_CASES
            for skill in SKILLS
        ]
        harms = [harm_row(pool, case, num_gates) for case in POWER_CASES]
    truth = true_changes(HARMED)
    harm = {"lost": -float(truth[-1]), "gained": float(truth.mean()), "rows": harms}
    settings = {"level": LEVEL, "resamples": RESAMPLES, "num_runs": num_runs, "num_gates": num_gates}
    return {"settings": settings, "null": nulls, "power": powers, "harm": harm, "environment": describe()}


def shares(outcomes: Any, num_runs: int) -> dict[str, float]:
    """Return the shares of runs that claimed a gain and harm, and three standard errors at the level."""
    gained, harm = (sum(flags) / num_runs for flags in zip(*outcomes, strict=True))
    return {"gained": gained, "harmed": harm, "noise": 3 * (LEVEL * (1 - LEVEL) / num_runs) ** 0.5}


def power(pool: ProcessPoolExecutor, case: Case, skill: float, num_gates: int) -> dict[str, float]:
    """Return how often a gain is found, and the median of the gain that the gate says it misses half the time."""
    found, named = zip(
        *pool.map(found_gain, [case] * num_gates, [skill] * num_gates, range(num_gates), chunksize=10), strict=True
    )
    return {"found": sum(found) / num_gates, "named": float(np.median(named))}


def harm_row(pool: ProcessPoolExecutor, case: Case, num_gates: int) -> dict[str, float]:
    """Return how often harm to the rare class is seen, and how often such a student counts as improved."""
    seen, gained = zip(*pool.map(found_harm, [case] * num_gates, range(num_gates), chunksize=10), strict=True)
    return {"num_images": case.num_images, "seen": sum(seen) / num_gates, "improved": sum(gained) / num_gates}


def page(result: Mapping[str, Any], stamp: str) -> str:
    """Return the result as a page."""
    settings, harm = result["settings"], result["harm"]
    lines = [
        f"# Does the gate keep its word? {stamp}",
        "",
        "Read with care: simulated students, four classes, one rare; errors of two students on an image are alike only",
        "through its difficulty. Real students differ more (training seeds) and less (the same teacher).",
        "",
        f"## Runs in which nothing is gained ({settings['num_runs']} a row)",
        "",
        f"Allowed: {settings['level']:.0%} of runs; of so few, up to {result['null'][0]['noise']:.1%} more is chance.",
        "",
        "| gate images | images with the rarest class | rounds | claimed a gain | claimed harm to a class |",
        "|---|---|---|---|---|",
        *(null_line(row) for row in result["null"]),
        "",
        f"## True gains that are found, three rounds allowed ({settings['num_gates']} gates a point)",
        "",
        *power_table(result["power"]),
        "",
        "Last column: the gain that the gate itself says would be missed half the time.",
        "",
        "## A student that is better but for its rare class",
        "",
        f"In truth that class loses {harm['lost']:.3f} of IoU, while mIoU gains {harm['gained']:.3f}.",
        "",
        "| gate images | harm seen | counted as improved |",
        "|---|---|---|",
        *(f"| {row['num_images']} | {row['seen']:.0%} | {row['improved']:.0%} |" for row in harm["rows"]),
        *last_lines(result["environment"], f"gate --runs {settings['num_runs']} --gates {settings['num_gates']}"),
    ]
    return "\n".join(lines)


def null_line(row: Mapping[str, float]) -> str:
    """Return the line of one kind of run."""
    kind = f"| {row['num_images']} | {row['rare']:.0%} | {row['num_rounds']} |"
    return f"{kind} {row['gained']:.1%} | {row['harmed']:.1%} |"


def power_table(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the power curve: a row a number of images, a column a true gain, with a bar in words of ten blocks."""
    gains = sorted({row["true_gain"] for row in rows})
    lines = [f"| gate images | {' | '.join(f'gain {gain:.3f}' for gain in gains)} | missed half the time |"]
    lines.append("|" + "---|" * (len(gains) + 2))
    for num_images in sorted({row["num_images"] for row in rows}):
        own = sorted((row for row in rows if row["num_images"] == num_images), key=lambda row: row["true_gain"])
        cells = " | ".join(f"{bar(row['found'])} {row['found']:.0%}" for row in own)
        lines.append(f"| {num_images} | {cells} | {own[0]['named']:.3f} |")
    return lines


def bar(share: float) -> str:
    """Return a share as five blocks.

    >>> bar(0.4)
    '██░░░'
    """
    filled = round(5 * share)
    return "█" * filled + "░" * (5 - filled)


@click.command("gate")
@click.option("--runs", "num_runs", default=400, show_default=True, help="Simulated runs a case.")
@click.option("--gates", "num_gates", default=150, show_default=True, help="Gates a point of the power curve.")
def gate_benchmark(num_runs: int, num_gates: int) -> None:
    """Simulate runs to count the gate's false claims and find its power."""
    write_page("gate", measure(num_runs, num_gates), page)
