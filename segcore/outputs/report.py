"""report.html: one self-contained page per run, readable in light and dark, that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segcore.outputs import reliability, report_text
from segcore.outputs.card_text import HEADER
from segcore.outputs.report_chart import miou_chart
from segcore.outputs.report_data import ReportData
from segcore.outputs.report_pictures import picture_row

TEMPLATE, STYLE = "report_page.html", "report_style.css"
RELIABILITY = "reliability.html"


def render_report(data: ReportData, out: Path) -> None:
    """Write the report of a run to out. All text from the run is escaped; equal data gives equal bytes."""
    out.write_text(report_html(data), encoding="utf-8")


def report_html(data: ReportData) -> str:
    """Return the page as text."""
    return render_page(
        TEMPLATE,
        data=data,
        headline=report_text.headline(data),
        caveats=report_text.caveats(data),
        chart=miou_chart(data),
        pictures=[picture_row(overlay, data.palette) for overlay in data.overlays],
        steps=steps_of(data),
        card_header=HEADER,
        calibration=calibration_section(data),
        labelled_rounds=[item for item in data.rounds if item.pseudo is not None],
        voted_rounds=[item for item in data.rounds if item.ensemble is not None],
    )


def calibration_section(data: ReportData) -> Markup:
    """Return the section with the reliability diagrams; empty without a calibration."""
    if data.calibration is None:
        return Markup()
    return Markup(render_page(RELIABILITY, calibration=data.calibration, header=reliability.HEADER))


def render_page(template: str, **values: Any) -> str:
    """Return one of this package's pages, with the style that they share."""
    style = Markup(resources.files("segcore.outputs").joinpath(STYLE).read_text("utf-8"))
    return page_environment().get_template(template).render(style=style, **values)


@cache
def page_environment() -> Environment:
    """Return the template environment: autoescape on, unknown names are errors, our number formats as filters."""
    pages = PackageLoader("segcore", "outputs")
    environment = Environment(
        loader=pages, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for name in ("iou", "signed", "percent", "duration"):
        environment.filters[name] = getattr(report_text, name)
    environment.filters["total_of"] = total_of
    environment.filters["step_of"] = step_of
    return environment


def steps_of(data: ReportData) -> list[str]:
    """Return the names of all timed steps, in order of first appearance."""
    return list(dict.fromkeys(step for item in data.rounds for step in item.seconds))


def total_of(seconds: Mapping[str, float]) -> float:
    """Return the seconds of all steps of a round."""
    return sum(seconds.values())


def step_of(seconds: Mapping[str, float], step: str) -> float:
    """Return the seconds of one step of a round, 0 when the round has no such step."""
    return seconds.get(step, 0.0)
