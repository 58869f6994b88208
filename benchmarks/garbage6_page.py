"""The page of the garbage6 measurement: gains with their spread over seeds, promised against real precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean
from typing import Any

from benchmarks.page import last_lines

LEAST_COVERAGE = 0.3  # of all pool pixels: a policy that labels less promises cheaply


def page(result: Mapping[str, Any], stamp: str) -> str:
    """Return the result page."""
    seeds, policies = result["seeds"], list(result["seeds"][0]["policies"])
    lines = [
        f"# The loop on real photos, {stamp}", "",
        "Caveats first: 49 labelled and 122 unlabelled photos, some 50 gate images, short schedules on a CPU. The best",
        f"of several rounds would be optimistic, so the last is shown. Spread over {len(seeds)} seeds: min … max.", "",
        "## Gate mIoU", "",
        "| model | mean | seeds | above control | of the gap to the ceiling |", "|---|---|---|---|---|",
    ]  # fmt: skip
    control, ceiling = scores(seeds, "control"), scores(seeds, "ceiling")
    named: list[tuple[str, list[float]]] = [
        ("labelled only (round 0)", [seed["policies"][policies[0]]["rounds"][0]["miou"] for seed in seeds]),
        ("control: labelled only, final schedule", control),
        *((f"loop, {name}", [seed["policies"][name]["rounds"][-1]["miou"] for seed in seeds]) for name in policies),
        ("ceiling: all labels, final schedule", ceiling),
    ]  # fmt: skip
    lines += [score_row(name, found, control, ceiling) for name, found in named]
    lines += ["", "## What the gate said", ""]
    lines += [f"- {policy}: {outcomes(seeds, policy)}" for policy in policies]
    lines += ["", "## Pseudo-labels of round 1: promised and real", "", *promise_lines(seeds, policies)]
    for policy in policies:
        lines += ["", f"### {policy}, by class", "", *class_table(seeds, policy, result["classes"])]
    if result["overrides"]:
        lines += ["", f"Overrides: {', '.join(result['overrides'])}"]
    return "\n".join([*lines, *last_lines(result["environment"], "garbage6")])


def scores(seeds: Sequence[Mapping[str, Any]], part: str) -> list[float]:
    """Return the mIoU of a part, seed by seed."""
    return [seed[part]["miou"] for seed in seeds]


def score_row(name: str, found: Sequence[float], control: Sequence[float], ceiling: Sequence[float]) -> str:
    """Return one row: mean, every seed, mean paired difference to control, share of the mean gap."""
    gains = [one - other for one, other in zip(found, control, strict=True)]
    gap = mean(ceiling) - mean(control)
    share = f"{mean(gains) / gap:.0%}" if gap > 0 else "no gap"
    each = " ".join(f"{value:.3f}" for value in found)
    spread = f"{min(gains):+.3f} … {max(gains):+.3f}"
    return f"| {name} | {mean(found):.3f} | {each} | {mean(gains):+.3f} ({spread}) | {share} |"


def outcomes(seeds: Sequence[Mapping[str, Any]], policy: str) -> str:
    """Return the gate's outcomes of all seeds, rounds joined by commas."""
    return "; ".join(f"seed {seed['seed']}: {', '.join(seed['policies'][policy]['outcomes'])}" for seed in seeds)


def promise_lines(seeds: Sequence[Mapping[str, Any]], policies: Sequence[str]) -> list[str]:
    """Return, per policy and pooled over classes and seeds, what calib promised and what the truth says."""
    table = [
        "Expected: precision on calib, weighted by kept pixels. Held: classes whose real precision is not under the",
        f"lower end of the interval promised. Under {LEAST_COVERAGE:.0%} coverage is marked: little is no merit.",
        "", "| policy | expected precision | real precision | coverage | promises held |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for policy in policies:
        runs = [seed["policies"][policy] for seed in seeds]
        coverage = mean(run["real"]["all"]["coverage"] for run in runs)
        mark = "" if coverage >= LEAST_COVERAGE else " (too little)"
        held = [row for run in runs for row in promises(run)]
        table.append(
            f"| {policy} | {mean(expected_of(run) for run in runs):.3f} | "
            f"{mean(run['real']['all']['precision'] for run in runs):.3f} | {coverage:.3f}{mark} | "
            f"{sum(held)} of {len(held)} |"
        )
    return table


def expected_of(run: Mapping[str, Any]) -> float:
    """Return the expected precision over all classes, weighted by the pixels kept of each."""
    pairs = [
        (promised["precision"]["point"], real["kept_pixels"])
        for promised, real in zip(run["promised"], run["real"]["classes"], strict=True) if promised["precision"]
    ]  # fmt: skip
    weight = sum(pixels for _, pixels in pairs)
    return sum(point * pixels for point, pixels in pairs) / weight if weight else 0.0


def promises(run: Mapping[str, Any]) -> list[bool]:
    """Return, for every class with a promise and a kept pixel, whether the real precision kept it."""
    return [
        real["precision"] >= promised["precision"]["low"]
        for promised, real in zip(run["promised"], run["real"]["classes"], strict=True)
        if promised["precision"] and real["precision"] is not None
    ]


def class_table(seeds: Sequence[Mapping[str, Any]], policy: str, classes: Sequence[str]) -> list[str]:
    """Return the means over seeds of each class: expected and real precision, coverage, IoU of control and loop."""
    rows = ["| class | expected | real | coverage | IoU control | IoU loop |", "|---|---|---|---|---|---|"]
    for index, name in enumerate(classes):
        runs = [seed["policies"][policy] for seed in seeds]
        cells = [
            shown(lambda run, i=index: (run["promised"][i]["precision"] or {}).get("point"), runs),
            shown(lambda run, i=index: run["real"]["classes"][i]["precision"], runs),
            shown(lambda run, i=index: run["real"]["classes"][i]["coverage"], runs),
            shown(lambda seed, i=index: seed["control"]["class_iou"][i], seeds),
            shown(lambda run, i=index: run["rounds"][-1]["class_iou"][i], runs),
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return rows


def shown(value_of: Callable[[Any], float | None], rows: Sequence[Any]) -> str:
    """Return the mean of a value over the rows that have it, as text."""
    found = [value for value in map(value_of, rows) if value is not None]
    return f"{mean(found):.3f}" if found else "–"
