"""Collects everything wrong with one input, so that a user mends a file once and not error by error."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from segcore.errors import DataError

MAX_SHOWN = 20


class Problems:
    """The problems found in one file or folder."""

    def __init__(self, where: Path | str) -> None:
        self.where = where
        self.found: list[str] = []

    def add(self, text: str) -> None:
        """Note one problem: what was expected, what was found."""
        self.found.append(text)

    def extend(self, texts: Iterable[str]) -> None:
        """Note several problems."""
        self.found.extend(texts)

    def raise_if_any(self) -> None:
        """Raise one DataError that lists the first MAX_SHOWN problems; do nothing if there are none."""
        if self.found:
            raise DataError(self.message())

    def message(self) -> str:
        """Return the text of that error."""
        if len(self.found) == 1:
            return f"{self.where}: {self.found[0]}"
        lines = [f"{self.where}: {len(self.found)} problems", *(f"  - {text}" for text in self.found[:MAX_SHOWN])]
        if len(self.found) > MAX_SHOWN:
            lines.append(f"  … and {len(self.found) - MAX_SHOWN} more")
        return "\n".join(lines)
