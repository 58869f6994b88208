"""The page of a training measurement: caveats first, then speed, then whether both ways learn alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.page import last_lines
from benchmarks.train_ways import OURS, THEIRS, THEIRS_AMP

GOALS = {"CPU": 1.3, "CUDA": 2.0}
PARTS = 5  # of a loss curve
TOLERANCE = 0.05  # of the loss: less than this counts as equal whatever the spread
CAVEATS = """Read with care. One machine, one measurement. mmseg is mmengine's Runner on mmseg's own
`default_runtime.py` and `schedule_20k.py` (hooks, cuDNN and OpenCV settings), with as many loading workers as segloop,
kept between epochs, and the transforms that are ours in its words: LoadImageFromFile, LoadAnnotations, RandomResize,
RandomCrop with cat_max_ratio, RandomFlip, PhotoMetricDistortion, PackSegInputs. Model, start weights, photos, batch,
crop, AdamW with its rates, gradient clipping and schedule are the same; what each draws at random is its own. segloop
is the training program itself. Both train at once, each in a process of its own, and take turns block by block, the
order alternating; who waits has its workers stopped. All of an iteration counts, loading included; the first block,
which fills caches, does not, nor does the start, which is listed. Losses are those of the training batches."""


def page(result: Mapping[str, Any], stamp: str) -> str:
    """Return the result as a page."""
    cases: dict[str, Any] = result["cases"]
    device = "CPU" if result["device"] == "CPU" else "CUDA"
    load = f"{result['load_before']:.1f} before, {result['load_after']:.1f} after"
    lines = [
        f"# Training, against plain mmsegmentation, {stamp}",
        "",
        CAVEATS,
        "",
        f"On {result['device']}, {result['threads']} threads. Load {load}.",
        *(["No GPU was at hand: its goal, twice as fast, is open (`--device cuda`)."] if device == "CPU" else []),
        "",
        *speed_table(cases),
        "",
        *verdicts(cases, GOALS[device]),
        *(line for case in cases.values() if len(case["trainings"]) > 1 for line in curve_lines(case)),
        "",
        *([result["notes"]] if result["notes"] else []),
        *last_lines(result["environment"], "train" + " --device cuda" * (device == "CUDA")),
    ]
    return "\n".join(lines)


def ways_of(case: Mapping[str, Any]) -> list[str]:
    """Return the ways of a case, ours first."""
    return [way for way in (OURS, THEIRS, THEIRS_AMP) if way in case["trainings"][0]]


def timed(case: Mapping[str, Any], way: str, figure: str = "wall_s") -> list[float]:
    """Return a figure block by block over all trainings of a case, first blocks left out."""
    return [value for training in case["trainings"] for value in training[way][figure][1:]]


def rates(case: Mapping[str, Any], way: str) -> list[float]:
    """Return images a second, block by block."""
    images = case["block"] * case["batch_size"]
    return [images / seconds for seconds in timed(case, way)]


def ratios(case: Mapping[str, Any], way: str, figure: str = "wall_s") -> list[float]:
    """Return how many times as long a way took as ours, block by block."""
    return [a / b for a, b in zip(timed(case, way, figure), timed(case, OURS, figure), strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return median, least and most."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} … {max(values):.{digits}f})"


def row(*cells: str) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def speed_table(cases: Mapping[str, Any]) -> list[str]:
    """Return images a second and ratios, medians of blocks with least and most."""
    head = ("training", "start", "way", "images", "images/s", "CPU s an image", "segloop is times as fast")
    lines = [row(*head, "by CPU time", "until the first iteration, s"), "|---" * 9 + "|"]
    for case in cases.values():
        for way in ways_of(case):
            blocks = timed(case, way, "cpu_s")
            images = case["block"] * case["batch_size"]
            cpu = spread([seconds / images for seconds in blocks], 3)
            cells = [case["title"], case["start"], way, str(len(blocks) * images), spread(rates(case, way)), cpu]
            ours = way == OURS
            cells += ["", ""] if ours else [f"**{spread(ratios(case, way))}**", spread(ratios(case, way, "cpu_s"))]
            start = statistics.median(training[way]["start_s"] for training in case["trainings"])
            lines.append(row(*cells, f"{start:.1f}"))
    return lines


def verdicts(cases: Mapping[str, Any], goal: float) -> list[str]:
    """Return whether the goals were reached, as sentences."""
    lines = []
    for case in cases.values():
        for way in ways_of(case)[1:]:
            ratio = statistics.median(ratios(case, way))
            what = f"{case['title']}: {ratio:.2f} times as fast as {way}"
            lines.append(verdict(what, ratio >= goal, f"at least {goal:g}"))
        if len(case["trainings"]) > 1:
            for way in ways_of(case)[1:]:
                agree = all(abs(part.difference) <= part.allowed for part in parts_of(case, way))
                what = f"{case['title']}: losses of segloop and {way} agree in every fifth of the training"
                lines.append(verdict(what, agree, "two standard errors over seeds, or 5 % of the loss if that is more"))
    return lines


def verdict(text: str, met: bool, goal: str) -> str:
    """Return a goal as a line of a list."""
    return f"- {text}: {'reached' if met else 'NOT reached'} (goal: {goal})."


class Part:
    """The mean losses of both ways over a part of the training, one number a seed each."""

    def __init__(self, ours: Sequence[float], theirs: Sequence[float]) -> None:
        self.ours, self.theirs = list(ours), list(theirs)

    @property
    def difference(self) -> float:
        """Return our mean minus theirs."""
        return statistics.fmean(self.ours) - statistics.fmean(self.theirs)

    @property
    def standard_error(self) -> float:
        """Return that of the difference."""
        return math.sqrt((statistics.variance(self.ours) + statistics.variance(self.theirs)) / len(self.ours))

    @property
    def allowed(self) -> float:
        """Return how far the difference may be from 0."""
        return max(2 * self.standard_error, TOLERANCE * statistics.fmean(self.theirs))


def parts_of(case: Mapping[str, Any], way: str) -> list[Part]:
    """Return a case's losses in fifths of the training, ours beside those of a way."""
    found = []
    for index in range(PARTS):
        means = {
            name: [fifth(training[name]["losses"], index) for training in case["trainings"]] for name in (OURS, way)
        }
        found.append(Part(means[OURS], means[way]))
    return found


def fifth(losses: Sequence[float], index: int) -> float:
    """Return the mean of one fifth of a curve."""
    bounds = [round(len(losses) * part / PARTS) for part in (index, index + 1)]
    return statistics.fmean(losses[bounds[0] : bounds[1]])


def curve_lines(case: Mapping[str, Any]) -> list[str]:
    """Return the losses of a case, fifth by fifth."""
    seeds, iterations = len(case["trainings"]), len(case["trainings"][0][OURS]["losses"])
    lines = ["", f"## Loss curves: {case['title']}", ""]
    lines.append(f"{seeds} seeds, {iterations} iterations, means over fifths; mean over seeds (least … most).")
    for way in ways_of(case)[1:]:
        lines += ["", row("iterations", "segloop", way, "difference", "allowed"), "|---" * 5 + "|"]
        for index, part in enumerate(parts_of(case, way)):
            first, last = (round(iterations * bound / PARTS) for bound in (index, index + 1))
            cells = [f"{first} … {last}", of_seeds(part.ours), of_seeds(part.theirs)]
            lines.append(row(*cells, f"{part.difference:+.3f}", f"±{part.allowed:.3f}"))
    return lines


def of_seeds(values: Sequence[float]) -> str:
    """Return mean, least and most over seeds."""
    return f"{statistics.fmean(values):.3f} ({min(values):.3f} … {max(values):.3f})"
