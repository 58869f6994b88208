"""What the pseudo-labels of each threshold policy promised on calib, and what the truth says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from benchmarks.garbage6_rows import mean_or_dash

LEAST_COVERAGE = 0.3  # of all pool pixels: a policy that labels less promises cheaply
INTRODUCTION = """Pooled over classes and seeds. Expected: precision on calib, weighted by kept pixels. Real: against
the truth of the pool, which no run saw. Broken: classes whose real precision is under the lower end of the interval
that calib gave them. Coverage: share of all pool pixels that are kept; a policy under {least:.0%} is marked and does
not count as the better one, whatever its precision: little is no merit."""


def promise_lines(seeds: Sequence[Mapping[str, Any]], policies: Sequence[str]) -> list[str]:
    """Return, per policy, what calib promised and what the truth says: pooled, then by class."""
    lines = [
        INTRODUCTION.format(least=LEAST_COVERAGE), "",
        "| policy | expected precision | real precision | difference | coverage | promises broken |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    runs_of = {policy: [seed["policies"][policy] for seed in seeds] for policy in policies}
    lines += [promise_row(policy, runs) for policy, runs in runs_of.items()]
    for policy, runs in runs_of.items():
        lines += ["", f"### {policy}, by class", "", *class_promises(runs)]
    return lines


def promise_row(policy: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return one policy's row, pooled over classes and seeds by pixels kept."""
    found = pooled(runs)
    precision = "– | – | –" if found is None else f"{found[0]:.3f} | {found[1]:.3f} | {found[1] - found[0]:+.3f}"
    coverage = mean(run["real"]["all"]["coverage"] for run in runs)
    mark = "" if coverage >= LEAST_COVERAGE else " (too little)"
    held = [kept for run in runs for kept in promises(run)]
    return f"| {policy} | {precision} | {coverage:.3f}{mark} | {len(held) - sum(held)} of {len(held)} |"


def pooled(runs: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Return expected and real precision of all kept pixels whose class has an expectation; None without any."""
    rows = [
        (promised["precision"]["point"], real["precision"], real["kept_pixels"])
        for run in runs
        for promised, real in zip(run["promised"], run["real"]["classes"], strict=True)
        if promised["precision"] and real["precision"] is not None
    ]
    weight = sum(pixels for _, _, pixels in rows)
    if not weight:
        return None
    return sum(point * n for point, _, n in rows) / weight, sum(right * n for _, right, n in rows) / weight


def promises(run: Mapping[str, Any]) -> list[bool]:
    """Return, for every class with a promise and a kept pixel, whether the real precision kept it."""
    return [
        real["precision"] >= promised["precision"]["low"]
        for promised, real in zip(run["promised"], run["real"]["classes"], strict=True)
        if promised["precision"] and real["precision"] is not None
    ]


def class_promises(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the means over seeds of each class: expected and real precision, coverage."""
    lines = ["| class | expected | real | coverage |", "|---|---|---|---|"]
    for class_id, row in enumerate(runs[0]["promised"]):
        cells = (
            [(run["promised"][class_id]["precision"] or {}).get("point") for run in runs],
            [run["real"]["classes"][class_id]["precision"] for run in runs],
            [run["real"]["classes"][class_id]["coverage"] for run in runs],
        )
        lines.append(f"| {row['name']} | {' | '.join(map(mean_or_dash, cells))} |")
    return lines
