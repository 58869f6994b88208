"""Commands that make a workplace of a machine: setup and up."""

from __future__ import annotations

import click

GPUS = click.option(
    "--gpus", type=click.IntRange(min=1), metavar="N",
    help="Runs of pseudo-label-loop/gpu at a time. Default: as it was set, at first the number of this machine's GPUs.",
)  # fmt: skip


@click.command("setup")
@GPUS
@click.option(
    "--automations", is_flag=True,
    help="When a run has sent no heartbeat for 75 s, ask its lock whether it is dead, and mark it as Crashed then.",
)  # fmt: skip
@click.option(
    "--notify", metavar="BLOCK",
    help="Tell through this notification block when a run has ended: TYPE/NAME as in prefect block ls, for example "
    "slack-webhook/team.",
)  # fmt: skip
def setup_command(gpus: int | None, automations: bool, notify: str | None) -> None:
    """Prepare a Prefect server for segloop: work pool, GPU limit, deployments. Safe to repeat.

    The server is the one that PREFECT_API_URL names, in the environment or in the active Prefect profile; without it
    one on this machine, at http://127.0.0.1:4200, which need not run: one is started for the moment. A server on this
    machine gets an auth string, kept in the profile.

    The work pool's job template takes no command, environment or folder from the API.
    """
    from flows.embedded import prepare_prefect

    prepare_prefect()
    from flows.up import SetupSpec, commands, set_up

    for line in set_up(SetupSpec(gpus, automations, notify)):
        click.echo(line)
    click.echo("\n".join(["", *commands()]))


@click.command("up")
def up_command() -> None:
    """Start everything a workstation needs, and stay: a Prefect server (unless one answers), setup, and a worker.

    Runs are then started, watched and retried in the Prefect UI. The current folder, or the first of SEGLOOP_ROOTS, is
    where relative paths begin; a run may name no files outside of SEGLOOP_ROOTS. Ctrl-C stops it all: trainers save a
    checkpoint, runs that were going are marked as Crashed, and Retry goes on with them after the next start.
    """
    from flows.embedded import prepare_prefect

    prepare_prefect()
    from flows.up import stay_up

    stay_up(click.echo)
