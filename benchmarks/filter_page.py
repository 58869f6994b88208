"""The result page of the filter benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.page import last_lines

GOAL_RATIO, GOAL_PER_CORE, GOAL_REFILTER_S = 5, 200, 60


def markdown(result: Mapping[str, Any], stamp: str) -> str:
    """Return the result file."""
    pairs, setting = result["chain"]["pairs"], result["setting"]
    ours, obvious = ([pair[name]["cpu_ms"] for pair in pairs] for name in ("segloop", "obvious"))
    ratios = [theirs / mine for theirs, mine in zip(obvious, ours, strict=True)]
    rates = [1000 / value for value in ours]
    lines = [
        f"# Filter and export, {stamp}",
        "",
        "Read with care: drawn predictions on one machine. Where other programs were at work (load below), clock",
        "times are longer than on a machine left alone, and CPU times somewhat, for both ways alike.",
        "",
        f"Threshold, ignore, boundary band ({setting['boundary_px']} px), components of "
        f"{setting['min_component_px']} px and more, RLE, COCO file:",
        f"{setting['images']} images of {setting['size_px']} px with {setting['classes']} classes, "
        f"{result['chain']['annotations']} annotations, compared and equal. One core, {len(pairs)} pairs in turn.",
        "",
        "| | median | least | most | goal |",
        "|---|---|---|---|---|",
        row("the obvious loop, CPU ms an image", obvious, "", 1),
        row("segloop, CPU ms an image", ours, "", 1),
        row("segloop, images a second and core", rates, f"at least {GOAL_PER_CORE}", 0),
        row("times as fast", ratios, f"at least {GOAL_RATIO}", 1),
        "",
        *refilter_lines(result["refilter"], setting["images"]),
        "",
        *verdicts(statistics.median(ratios), statistics.median(rates), result["refilter"]),
        *last_lines(result["environment"], "filter"),
    ]
    return "\n".join(lines)


def row(name: str, values: Sequence[float], goal: str, digits: int) -> str:
    """Return a line of the first table."""
    cells = (statistics.median(values), min(values), max(values))
    return f"| {name} | " + " | ".join(f"{value:.{digits}f}" for value in cells) + f" | {goal} |"


def refilter_lines(measured: Mapping[str, Any], num_drawn: int) -> list[str]:
    """Return what the filter step on files took."""
    stored = measured["stored_mb"]
    maps_mb = stored["label_map"] + stored["confidence"]
    return [
        f"New thresholds for {measured['images']} labelled images ({num_drawn} drawn ones over and over): the whole",
        "filter step from files to files, with label maps and quality card. Thresholds follow from the histograms",
        f"stored with the predictions ({stored['histogram']:.1f} MB beside {maps_mb:.0f} MB of maps; read and added up",
        f"in {measured['thresholds_cpu_s']:.1f} s of CPU time), then there is one pass over the maps by "
        f"{measured['workers']} processes.",
        f"Goal: under {GOAL_REFILTER_S} s on two cores.",
        "",
        "| policy | s | CPU s of all processes | CPU s / 2 | CPU ms an image | load after | annotations | JSON, MB "
        "| peak of a process, MB |",
        "|---|---|---|---|---|---|---|---|---|",
        *(policy_row(policy, run, measured["images"]) for policy, run in measured["policies"].items()),
    ]


def policy_row(policy: str, run: Mapping[str, float], num_images: int) -> str:
    """Return a line of the second table."""
    return (
        f"| `{policy}` | {run['wall_s']:.1f} | {run['cpu_s']:.1f} | {run['cpu_s'] / 2:.1f} "
        f"| {1000 * run['cpu_s'] / num_images:.1f} | {run['load_after']:.1f} | {run['annotations']:.0f} "
        f"| {run['annotations_mb']:.0f} | {run['worker_peak_mb']:.0f} |"
    )


def verdicts(ratio: float, per_core: float, measured: Mapping[str, Any]) -> list[str]:
    """Return whether each goal was reached, as sentences; CPU time says what other programs have to do with it."""
    goals = [
        (f"{ratio:.1f} times as fast as the obvious loop", ratio >= GOAL_RATIO, GOAL_RATIO),
        (f"{per_core:.0f} images a second and core", per_core >= GOAL_PER_CORE, GOAL_PER_CORE),
    ]
    for policy, run in measured["policies"].items():
        text = f"`{policy}`: {run['wall_s']:.0f} s by the clock for new thresholds"
        spent = f"{run['cpu_s'] / 2:.0f} s of them at work on each of two cores"
        goals.append((f"{text}, {spent}", run["wall_s"] < GOAL_REFILTER_S, GOAL_REFILTER_S))
    return [f"- {text}: {'reached' if met else 'NOT reached'} (goal {goal})." for text, met, goal in goals]
