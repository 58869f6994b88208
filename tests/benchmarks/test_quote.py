import click
import pytest

from benchmarks.page import ROOT
from benchmarks.quote import PLACE, first_table, quoted

PAGE = "# Page\n\n## One\n\nText.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n| c |\n|---|\n\n## Two\n\n## Three\n\n| x |"
DOCUMENT = "Before.\n\n<!-- quoted: One -->\n\nold\n\n<!-- end of quote -->\n\nAfter.\n"


def test_a_table_replaces_what_was_quoted_before_and_nothing_else():
    once = quoted(DOCUMENT, PAGE, "page.md")
    assert once.startswith("Before.\n\n<!-- quoted: One -->\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nSource: `page.md`.\n")
    assert once.endswith("<!-- end of quote -->\n\nAfter.\n")
    assert "old" not in once
    assert quoted(once, PAGE, "page.md") == once


@pytest.mark.parametrize("section", ["Two", "Four"])
def test_a_section_without_a_table_is_named(section):
    with pytest.raises(click.ClickException, match=section):
        first_table(PAGE, section)


def test_the_page_on_defaults_quotes_sections_that_the_measurement_writes():
    document = (ROOT / "docs" / "explanation" / "choosing-defaults.md").read_text(encoding="utf-8")
    sections = [place["section"] for place in PLACE.finditer(document)]
    assert len(sections) == 4
    source = (ROOT / "benchmarks" / "garbage6_page.py").read_text(encoding="utf-8")
    assert all(f'"## {section}"' in source for section in sections)
