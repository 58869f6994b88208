"""Geometry of the mIoU curve, drawn by the page as inline SVG so that its colours follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segcore.outputs.report_data import ReportData, RoundReport
from segcore.outputs.report_text import iou

WIDTH, HEIGHT = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 24, 26, 44
STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Point:
    """One round in the chart. x, y, y_low, y_high: SVG units. outcome picks its marker."""

    x: float
    y: float
    y_low: float
    y_high: float
    label: str
    outcome: str
    is_winner: bool
    round_index: int
    title: str


@dataclass(frozen=True)
class Line:
    """A horizontal line: a tick of the axis, or a score to compare with."""

    y: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A curve ready to draw, in SVG units within width x height."""

    width: int
    height: int
    left: int
    right: int
    bottom: int
    points: tuple[Point, ...]
    ticks: tuple[Line, ...]
    control: Line | None

    @property
    def path(self) -> str:
        """Return the points of the polyline."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


def miou_chart(data: ReportData) -> Chart:
    """Return the curve of mIoU over rounds, with 95 % intervals, outcomes, the winner and the control if any."""
    values = [value for item in data.rounds for value in (item.miou.low, item.miou.high)]
    if data.control is not None:
        values.append(data.control.miou.point)
    ticks = ticks_between(min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def y_of(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def point_of(position: int, item: RoundReport) -> Point:
        return Point(
            x=x_of(position, len(data.rounds)),
            y=y_of(item.miou.point),
            y_low=y_of(item.miou.low),
            y_high=y_of(item.miou.high),
            label=iou(item.miou.point),
            outcome=item.decision.outcome,
            is_winner=item.round_index == data.winner_index,
            round_index=item.round_index,
            title=f"round {item.round_index}: {iou(item.miou.point)} ({iou(item.miou.low)} … {iou(item.miou.high)})",
        )

    control = data.control.miou.point if data.control else None
    return Chart(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        bottom=HEIGHT - BOTTOM,
        points=tuple(point_of(position, item) for position, item in enumerate(data.rounds)),
        ticks=tuple(Line(y_of(value), f"{value:.2f}" if high - low > 0.05 else f"{value:.3f}") for value in ticks),
        control=None
        if control is None
        else Line(y_of(control), f"control: no pseudo-labels, final schedule ({iou(control)})"),
    )


def x_of(position: int, count: int) -> float:
    """Return the x of a round: spread evenly, a margin of half a step on both sides."""
    return LEFT + (position + 0.5) * (WIDTH - LEFT - RIGHT) / count


def ticks_between(low: float, high: float, wanted: int = 5) -> Sequence[float]:
    """Return round numbers, evenly spaced, of which the first is <= low and the last >= high."""
    span = max(high - low, 0.01)
    magnitude = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(factor * magnitude for factor in STEPS if factor * magnitude * wanted >= span)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(index * step, 6) for index in range(first, max(last, first + 1) + 1)]
