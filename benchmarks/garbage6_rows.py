"""Rows of scores on the garbage6 page: mIoU over seeds, the gain over the control, the share of the gap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

LEAST_GAP = 0.01  # mIoU between control and ceiling of a seed, under which a share of it says nothing
HEADER = (
    "| recipe | iterations: last, all | mIoU | seeds | above control | of the gap | seeds |",
    "|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True)
class Row:
    """One model of every seed. schedule: its name among the result's schedules. notes: what was measured, by seed."""

    title: str
    schedule: str
    notes: Sequence[Mapping[str, Any]]

    @property
    def scored(self) -> list[Mapping[str, Any]]:
        """Return the scores of the last student of every seed."""
        return [note["rounds"][-1] if "rounds" in note else note for note in self.notes]

    @property
    def miou(self) -> list[float]:
        """Return the mIoU of every seed."""
        return [score["miou"] for score in self.scored]


def rows_of(result: Mapping[str, Any], base: str) -> list[Row]:
    """Return the rows of the recipe table. base: the policy that is segloop's default."""
    seeds = result["seeds"]
    first = [seed["policies"][base]["rounds"][0] for seed in seeds]
    return [
        Row("labelled only (round 0)", "labelled", first),
        Row("control: labelled only, final schedule", "control", [seed["control"] for seed in seeds]),
        Row("segloop", "loop", [seed["policies"][base] for seed in seeds]),
        *(
            Row(title, recipe, [seed["recipes"][recipe] for seed in seeds])
            for recipe, title in result["titles"].items()
        ),
        Row("ceiling: all labels, final schedule", "ceiling", [seed["ceiling"] for seed in seeds]),
    ]


def score_table(result: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    """Return a table of scores."""
    control, ceiling = ([seed[part]["miou"] for seed in result["seeds"]] for part in ("control", "ceiling"))
    return [*HEADER, *(score_row(row, result["schedules"][row.schedule], control, ceiling) for row in rows)]


def score_row(row: Row, schedule: Sequence[int], control: Sequence[float], ceiling: Sequence[float]) -> str:
    """Return one row: iterations, mean and every seed, paired gain over the control, share of the gap."""
    found = row.miou
    gains = [one - other for one, other in zip(found, control, strict=True)]
    num_rounds = max(len(note.get("rounds", [note])) for note in row.notes)
    iterations = f"{schedule[num_rounds - 1]}, {sum(schedule[:num_rounds])}"
    cells = [
        row.title, iterations, spread(found), each(found), signed(gains), *gap_cells(gains, control, ceiling),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    """Return the mean, and the standard deviation where there are several values."""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def signed(values: Sequence[float]) -> str:
    """Return the mean of differences, the least and the greatest."""
    return f"{mean(values):+.3f} ({min(values):+.3f} … {max(values):+.3f})"


def each(values: Sequence[float]) -> str:
    """Return every value."""
    return " ".join(f"{value:.3f}" for value in values)


def gap_cells(gains: Sequence[float], control: Sequence[float], ceiling: Sequence[float]) -> tuple[str, str]:
    """Return the mean gain's share of the mean gap between control and ceiling, and the share of every seed."""
    gaps = [high - low for high, low in zip(ceiling, control, strict=True)]
    shares = [f"{gain / gap:.0%}" if gap >= LEAST_GAP else "–" for gain, gap in zip(gains, gaps, strict=True)]
    overall = f"{mean(gains) / mean(gaps):.0%}" if mean(gaps) >= LEAST_GAP else "no gap"
    return overall, " ".join(shares)


def class_table(result: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    """Return the IoU of each class, the mean over the seeds that have it, one column a row."""
    lines = [f"| class | {' | '.join(row.title for row in rows)} |", f"|---{'|---' * len(rows)}|"]
    for class_id, name in enumerate(result["classes"]):
        cells = [mean_or_dash([score["class_iou"][class_id] for score in row.scored]) for row in rows]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def mean_or_dash(values: Sequence[float | None]) -> str:
    """Return the mean of the values that are there."""
    found = [value for value in values if value is not None]
    return f"{mean(found):.3f}" if found else "–"
