"""Commands that look at runs and at the machine, and change nothing."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

ARTIFACTS = click.option(
    "--artifacts",
    type=click.Path(path_type=Path),
    default=Path("artifacts"),
    show_default=True,
    help="Folder of run folders (runtime.artifacts of the config).",
)


@click.command("status")
@click.argument("run", required=False)
@ARTIFACTS
def status_command(run: str | None, artifacts: Path) -> None:
    """Show how RUN stands, or all runs: rounds, scores, progress, who works on it. RUN: a run_id or a run folder."""
    from segcore.steps.run_folders import named_run, run_folders
    from segcore.steps.status import run_status
    from segcore.steps.status_text import run_text, runs_table

    now = datetime.now(UTC)
    if run is not None:
        click.echo(run_text(run_status(named_run(run, artifacts)), now))
        return
    folders = run_folders(artifacts)
    click.echo(runs_table([run_status(folder) for folder in folders], now) if folders else f"no runs in {artifacts}")


@click.command("verify")
@click.argument("run")
@ARTIFACTS
def verify_command(run: str, artifacts: Path) -> None:
    """Hash every published file of RUN again and compare with its manifest; exit code 5 when one differs."""
    from segcore.errors import RunError
    from segcore.steps.run_folders import named_run
    from segcore.store.verify import verify_run

    folder = named_run(run, artifacts)
    found = verify_run(folder)
    for finding in found.findings:
        click.echo(f"{'damaged' if finding.harmful else 'odd'}  {finding.folder}: {finding.problem}")
    click.echo(f"{found.num_steps} steps, {found.num_files} files, {found.num_bytes / 1e6:.1f} MB looked at")
    if not found.whole:
        num_damaged = len({finding.folder for finding in found.findings if finding.harmful})
        raise RunError(
            f"{folder}: {num_damaged} published steps are not what their manifests say; "
            "start the run again: they are set aside in quarantine/ and redone, the others are reused"
        )
    click.echo("whole")


@click.command("doctor")
@ARTIFACTS
def doctor_command(artifacts: Path) -> None:
    """Look for what would keep a run from working: packages, devices, disk, Prefect, runs left behind.

    Exit code 0 when there is no problem, else 1.
    """
    from segcore.steps.doctor import examine

    findings = examine(artifacts)
    for finding in findings:
        colour = {"ok": "green", "note": "yellow", "problem": "red"}[finding.severity]
        click.echo(f"{click.style(f'{finding.severity:7}', fg=colour)}  {finding.message}")
        if finding.remedy:
            click.echo(f"         {finding.remedy}")
    problems = sum(finding.severity == "problem" for finding in findings)
    click.echo(f"{problems} problems" if problems else "all is well")
    sys.exit(1 if problems else 0)
