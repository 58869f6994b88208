"""The command that answers a run which waits for a person."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli_runs import ARTIFACTS


@click.command("approve")
@click.argument("run")
@click.option("--no", "refused", is_flag=True, help="End the loop on the best round so far instead.")
@click.option("--note", default="", help="Kept with the run; the reason.")
@ARTIFACTS
def approve_command(run: str, refused: bool, note: str, artifacts: Path) -> None:
    """Let RUN start the round it waits for (loop.require_approval), or end on the best round so far.

    Then start the run again. One that waits in Prefect is answered there, with Resume.
    """
    from segcore.steps.approval import approve
    from segcore.steps.run import Run
    from segcore.steps.run_folders import named_run

    folder = named_run(run, artifacts)
    number = approve(Run(folder.name, str(folder)), go_on=not refused, note=note)
    answer = "may not start: the run will end on its best round" if refused else "may start"
    click.echo(f"round {number} of {folder.name} {answer}; start the run again to go on")
