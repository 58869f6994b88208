"""The page of the garbage6 measurement: recipes, policies, promised against real precision, IoU by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.garbage6_promises import promise_lines
from benchmarks.garbage6_recipes import DEFAULT, POLICIES
from benchmarks.garbage6_rows import Row, class_table, rows_of, score_table
from benchmarks.page import last_lines

CAVEATS = """Caveats first. 49 labelled and 122 unlabelled photos, some 50 gate images, a small network, short schedules
on a CPU: what wins here need not win with a large network trained for long. The best of several rounds would be
optimistic, so the last student of each row is scored, whatever the gate said of it. Seeds: {num_seeds}; ± is the
standard deviation over them, not an error of the mean; of small differences the sign is not certain. The share of the
gap divides by (ceiling - control), itself uncertain: look at the seeds."""
EQUAL = """Equal schedules: the last student of every row has as many iterations as control and ceiling, from the same
initial weights. All: the iterations of all students that a row needs, one after the other. An iteration is a batch of
labelled and pseudo-labelled images; consistency training looks at pool images beside that, in three views."""


def page(result: Mapping[str, Any], stamp: str) -> str:
    """Return the result page."""
    seeds = result["seeds"]
    policies = list(seeds[0]["policies"])
    base = DEFAULT if DEFAULT in policies else policies[0]
    by_policy = [Row(f"loop, {name}", "loop", [seed["policies"][name] for seed in seeds]) for name in policies]
    recipes = rows_of(result, base)
    lines = [
        f"# The loop on real photos, {stamp}", "", CAVEATS.format(num_seeds=len(seeds)), "",
        "## Recipes", "", EQUAL, "", *score_table(result, recipes), "",
        "## What the gate said", "", *outcome_lines(result, [*by_policy, *recipes]), "",
        "## Threshold policies", "", f"The loop with other thresholds, all else equal. Default: `{DEFAULT}`.", "",
        *score_table(result, by_policy), "",
        "## Pseudo-labels of round 1: promised and real", "", *promise_lines(seeds, policies), "",
        "## IoU by class, mean over seeds", "", *class_table(result, recipes),
        "", "## Settings", "", *settings(result),
    ]  # fmt: skip
    return "\n".join([*lines, *last_lines(result["environment"], "garbage6")])


def outcome_lines(result: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    """Return the gate's outcomes of all seeds, rounds joined by commas, for rows of more than one round."""
    seeds = [seed["seed"] for seed in result["seeds"]]
    lines = []
    for row in {row.title: row for row in rows}.values():
        outcomes = [", ".join(note.get("outcomes", [])[1:]) for note in row.notes]
        if any(outcomes) and row.title != "segloop":
            lines.append(f"- {row.title}: {'; '.join(f'seed {s}: {o}' for s, o in zip(seeds, outcomes, strict=True))}")
    return lines


def settings(result: Mapping[str, Any]) -> list[str]:
    """Return what was measured at which commit, and the overrides of all runs."""
    parts: dict[str, list[str]] = {}
    for seed in result["seeds"]:
        notes = {"control": seed["control"], "ceiling": seed["ceiling"], **seed["policies"], **seed["recipes"]}
        for name, note in notes.items():
            parts.setdefault(note.get("commit", "not noted"), []).append(f"{name} {seed['seed']}")
    lines = [f"- commit {commit[:12]}: {', '.join(names)} (part, seed)" for commit, names in parts.items()]
    lines += [f"- policy `{name}`: {', '.join(POLICIES[name])}" for name in result["seeds"][0]["policies"]]
    return lines + ([f"- overrides: {', '.join(result['overrides'])}"] if result["overrides"] else [])
