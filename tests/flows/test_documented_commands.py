"""Every segloop command in README and docs/ is taken as it stands: options, configs and fields; none is run."""

from __future__ import annotations

import re
import shlex
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from flows.cli import main
from segcore.config.load import load_config
from segcore.errors import ConfigError

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r'^(\w+)="(.*?)"', re.MULTILINE | re.DOTALL)


def commands_of(page: Path) -> Iterator[str]:
    """Yield the segloop commands in a page's bash blocks, continued lines joined, variables of the page filled in."""
    variables: dict[str, str] = {}
    for block in BLOCK.findall(page.read_text()):
        text = block.replace("\\\n", " ")
        variables |= {name: " ".join(value.split()) for name, value in VARIABLE.findall(text)}
        for line in VARIABLE.sub("", text).splitlines():
            for part in re.split(r" && |; ", line.strip()):
                if part.startswith("segloop "):
                    yield string.Template(part).safe_substitute(variables)


def test_pages_hold_commands() -> None:
    assert sum(1 for page in PAGES for _ in commands_of(page)) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_taken_as_they_stand(page: Path) -> None:
    for command in commands_of(page):
        arguments = shlex.split(command, comments=True)[1:]
        if "…" in arguments or "..." in arguments:
            continue  # an abridged one
        try:
            given = parsed(main, arguments)
            config = ROOT / str(given.get("config"))
            if config.is_relative_to(ROOT / "configs") and config.suffix == ".yaml":
                load_config(config, given["overrides"])
        except (click.UsageError, ConfigError) as error:
            pytest.fail(f"{command}\n{error}")


def parsed(group: click.Group, arguments: list[str]) -> dict[str, Any]:
    """Return what a command line gives the command it means, which is not run."""
    with click.Context(group) as context:
        name, command, rest = group.resolve_command(context, arguments)
    assert command is not None
    if isinstance(command, click.Group):
        return parsed(command, rest)
    with command.make_context(name, rest) as given:
        return given.params
