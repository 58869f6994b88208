"""Card ensemble: the models of a student, what each is worth by itself, and what the vote gives it."""

from __future__ import annotations

from segcore.cards.markdown import plain, table
from segcore.outputs.report_data import EnsembleReport
from segcore.outputs.report_text import iou, percent

HEADER = ("model", "weight", "mIoU alone, on calib")


def ensemble_card(found: EnsembleReport) -> str:
    """Return the card of an ensemble; a model without weight is no member."""
    rows = [
        (plain(name), percent(share or None), iou(alone))
        for name, share, alone in zip(found.models, found.shares, found.alone, strict=True)
    ]
    sentence = found.sentence[:1].upper() + found.sentence[1:]
    return f"{table(HEADER, rows)}\n\n{plain(sentence)}\n"
