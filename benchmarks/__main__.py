"""`python -m benchmarks NAME [options]`."""

from __future__ import annotations

import click

from benchmarks.chaos import chaos
from benchmarks.garbage6 import garbage6
from benchmarks.orchestration import orchestration


@click.group()
def main() -> None:
    """Measure segloop; every result file states what it was measured on."""


main.add_command(chaos)
main.add_command(garbage6)
main.add_command(orchestration)

if __name__ == "__main__":
    main()
