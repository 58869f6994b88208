"""`python -m benchmarks NAME [options]`."""

from __future__ import annotations

import click

from benchmarks.calibration import calibration
from benchmarks.chaos import chaos
from benchmarks.filter import filter_benchmark
from benchmarks.garbage6 import garbage6
from benchmarks.gate import gate_benchmark
from benchmarks.label import label
from benchmarks.memory import memory
from benchmarks.orchestration import orchestration
from benchmarks.quote import quote
from benchmarks.reliability import reliability
from benchmarks.reuse import reuse
from benchmarks.train import train


@click.group()
def main() -> None:
    """Measure segloop; every result file states what it was measured on."""


main.add_command(calibration)
main.add_command(chaos)
main.add_command(filter_benchmark)
main.add_command(garbage6)
main.add_command(gate_benchmark)
main.add_command(label)
main.add_command(memory)
main.add_command(orchestration)
main.add_command(quote)
main.add_command(reliability)
main.add_command(reuse)
main.add_command(train)

if __name__ == "__main__":
    main()
