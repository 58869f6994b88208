"""What all result pages share: where they lie, their date, the JSON beside them, and their last lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def write_page(name: str, result: Mapping[str, Any], page: Callable[[Any, str], str], folder: Path = RESULTS) -> Path:
    """Write a result as dated JSON and Markdown, tell where, and return the page's path."""
    stamp = f"{datetime.now(UTC):%Y-%m-%d}"
    path = folder / f"{stamp}-{name}.md"
    folder.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    path.write_text(page(result, stamp), encoding="utf-8")
    click.echo(path.read_text(encoding="utf-8"))
    click.echo(f"wrote {path}")
    return path


def last_lines(environment: Mapping[str, str], command: str) -> list[str]:
    """Return what ends a page: what it was measured on, and how to do it again."""
    described = ", ".join(f"{name} {value}" for name, value in environment.items())
    return ["", f"Environment: {described}", "", f"`python -m benchmarks {command}`", ""]
