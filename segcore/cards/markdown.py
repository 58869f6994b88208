"""Markdown that stays whole whatever names are put into it."""

from __future__ import annotations

from collections.abc import Sequence

# Prefect's pages do not decode entities such as &#124;
MARKS = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|~#!&"})
THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"


def plain(text: str) -> str:
    """Return text on one line, as it is read: no character of it is taken for Markdown or HTML."""
    return " ".join(text.split()).translate(MARKS)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: bool = True) -> str:
    """Return a Markdown table. Cells are Markdown: names go through plain() first.

    numbers: all columns but the first hold numbers, which stand to the right.
    """
    aligned = [":---", *["---:" if numbers else ":---"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, aligned, *rows))


def image(uri: str) -> str:
    """Return a picture given as data URI."""
    return f"![]({uri})"


def count(number: int) -> str:
    """Return a number with its thousands set apart."""
    return f"{number:,}".replace(",", THIN_SPACE)
