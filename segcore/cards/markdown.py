"""Markdown that stays whole whatever names are put into it."""

from __future__ import annotations

from collections.abc import Sequence

MARKS = str.maketrans({mark: f"&#{ord(mark)};" for mark in "&<>|`*_[]~\\#"})
THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"


def plain(text: str) -> str:
    """Return text on one line, as it is read: no character of it is taken for Markdown or HTML."""
    return " ".join(text.split()).translate(MARKS)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, first column left, others right. Cells are Markdown: names go through plain() first."""
    aligned = [":---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, aligned, *rows))


def image(uri: str) -> str:
    """Return a picture given as data URI."""
    return f"![]({uri})"


def code(text: str) -> str:
    """Return text on one line as code, e.g. a path."""
    return f"<code>{plain(text)}</code>"


def count(number: int) -> str:
    """Return a number with its thousands set apart."""
    return f"{number:,}".replace(",", THIN_SPACE)
