"""Tables of result pages in the documentation: copied by a program, so that they are what was measured."""

from __future__ import annotations

import re
from pathlib import Path

import click

PLACE = re.compile(r"(<!-- quoted: (?P<section>.+?) -->\n).*?(<!-- end of quote -->)", re.DOTALL)


@click.command("quote")
@click.argument("page", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("document", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def quote(page: Path, document: Path) -> None:
    """Copy the first table of sections of PAGE into DOCUMENT, where that asks for them."""
    text = quoted(document.read_text(encoding="utf-8"), page.read_text(encoding="utf-8"), page.name)
    document.write_text(text, encoding="utf-8")
    click.echo(f"{document}: tables of {page.name}")


def quoted(document: str, page: str, source: str) -> str:
    """Return a document whose places between "quoted: SECTION" and "end of quote" hold that section's first table."""

    def filled(place: re.Match[str]) -> str:
        rows = "\n".join(first_table(page, place["section"]))
        return f"{place[1]}\n{rows}\n\nSource: `{source}`.\n\n{place[3]}"

    return PLACE.sub(filled, document)


def first_table(page: str, section: str) -> list[str]:
    """Return the rows of the first table under a "## " heading; ClickException without one."""
    lines = page.splitlines()
    heading = f"## {section}"
    if heading in lines:
        after = lines[lines.index(heading) + 1 :]
        begin = next((number for number, line in enumerate(after) if line.startswith("|")), len(after))
        end = next((n for n, line in enumerate(after) if n > begin and not line.startswith("|")), len(after))
        if not any(line.startswith("## ") for line in after[:begin]) and end > begin:
            return after[begin:end]
    raise click.ClickException(f"expected a section {heading!r} with a table in the page, found none")
