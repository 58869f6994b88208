"""The table in README.md names, for every row of the fault matrix, tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NUM_ROWS = 27
ROW = re.compile(r"^\| (\d+) \|", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.fixture(scope="module")
def table() -> str:
    """Return the text of the README beside this file."""
    return Path(__file__).with_name("README.md").read_text()


def test_every_row_is_there_once_and_names_a_test(table: str) -> None:
    assert [int(number) for number in ROW.findall(table)] == list(range(1, NUM_ROWS + 1))
    assert [line for line in table.splitlines() if ROW.match(line) and not TEST.search(line)] == []


def test_every_named_test_exists(table: str) -> None:
    missing = [
        f"{path}::{name}" for path, name in TEST.findall(table)
        if not (ROOT / path).is_file() or f"def {name}(" not in (ROOT / path).read_text()
    ]  # fmt: skip
    assert missing == []
