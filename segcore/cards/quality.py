"""Card quality-card: what is known of a round's pseudo-labels, and the alarms they raised."""

from __future__ import annotations

from segcore.cards.markdown import plain, table
from segcore.outputs.card_text import HEADER, card_report
from segcore.outputs.report_data import CardReport
from segcore.records import StepOutput
from segcore.steps.quality_card import read_card
from segcore.steps.run import Run


def quality_of(run: Run, title: str, card: StepOutput) -> str:
    """Return the card of published pseudo-labels."""
    return quality_card(card_report(title, read_card(run.path / card.path)))


def quality_card(report: CardReport) -> str:
    """Return alarms first, then the facts and a row a class."""
    alarms = "\n".join(f"- **{plain(text)}**" for text in report.alarms) or "No alarms."
    facts = "\n".join(f"- {plain(text)}" for text in report.facts)
    rows = [tuple(plain(cell) for cell in row) for row in report.rows]
    return f"## Pseudo-labels of {plain(report.title)}\n\n{alarms}\n\n{facts}\n\n{table(HEADER, rows)}\n"
