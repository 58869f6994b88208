"""The page of a reuse measurement: caveats first, then the goal, then where the time goes."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.page import last_lines

GOAL_S = 10.0
CAVEATS = """Read with care. One run on one machine. Where other programs were using it (load below), wall-clock times
vary, and the CPU time of a walk says more. Images are 8 x 8 px and training and prediction are stand-ins, so that files
are tiny: the first start after a run reads every file of its steps once, which takes as long as the disk takes for
gigabytes of real predictions; later ones only look at sizes and times. The page cache is warm; "contents forgotten"
drops the contents of all files, while names and times stay in memory. On a network disk the 100,000 stats would
dominate. A run with one round after round 0; each further round adds its shards."""


def page(result: dict[str, Any], stamp: str) -> str:
    """Return the result as a page."""
    first, *later = result["starts"]
    totals = [start["total"] for start in later]
    total = statistics.median(totals)
    reached = f"reached: {total:.1f} s" if total < GOAL_S else f"not reached: {total:.1f} s"
    rows = [
        row(f"**later starts, median of {len(later)}**", median_start(later)),
        row("the first start after the run was made", first),
        row("a start with contents forgotten", result["contents_forgotten"]),
    ]
    by_prefect = result["segloop_run_s"]
    lines = [
        f"# How long a finished run of {result['num_images']:,} images takes to be walked as reused, {stamp}",
        "",
        CAVEATS,
        "",
        f"Goal: under {GOAL_S:g} s by plain calls; {reached} (least {min(totals):.1f}, most {max(totals):.1f}).",
        "",
        "| | process from start to end, s | the walk, s | CPU time of the walk, s |",
        "|---|---|---|---|",
        *rows,
        *(
            []
            if by_prefect is None
            else [f"| `segloop run`, under a temporary Prefect server | {by_prefect:.1f} | | |"]
        ),
        "",
        "| step | wall-clock s, median of later starts |",
        "|---|---|",
        *(f"| `{name}` | {seconds:.2f} |" for name, seconds in steps_of(later).items()),
        "",
        f"Building the run took {result['build_s']:.0f} s. Load (runnable processes, one minute) "
        f"{result['load_before']:.1f} before, {result['load_after']:.1f} after.",
        *last_lines(result["environment"], "reuse"),
    ]
    return "\n".join(lines)


def median_start(starts: list[dict[str, Any]]) -> dict[str, float]:
    """Return the median of each figure of several starts."""
    return {name: statistics.median(start[name] for start in starts) for name in ("total", "walk", "cpu")}


def steps_of(starts: list[dict[str, Any]]) -> dict[str, float]:
    """Return the median seconds of each step, the longest first."""
    medians = {name: statistics.median(start["steps"][name] for start in starts) for name in starts[0]["steps"]}
    return dict(sorted(medians.items(), key=lambda item: -item[1]))


def row(what: str, start: dict[str, Any]) -> str:
    """Return a line of the table."""
    return f"| {what} | {start['total']:.1f} | {start['walk']:.1f} | {start['cpu']:.1f} |"
