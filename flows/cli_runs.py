"""Commands on runs that are there: how they stand, their logs, cancelling, checking and cleaning them."""

from __future__ import annotations

import contextlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click

WATCH_S = 2.0
ARTIFACTS = click.option(
    "--artifacts",
    type=click.Path(path_type=Path),
    default=Path("artifacts"),
    show_default=True,
    help="Folder of run folders (runtime.artifacts of the config).",
)


@click.command("status")
@click.argument("run", required=False)
@click.option("--watch", is_flag=True, help="Show it anew every 2 s until nobody works on it; Ctrl-C leaves it alone.")
@ARTIFACTS
def status_command(run: str | None, watch: bool, artifacts: Path) -> None:
    """Show how RUN stands, or all runs: rounds, scores, progress, who works on it. RUN: a run_id or a run folder."""
    text, working = standing(run, artifacts)
    try:
        while watch and working:
            click.clear()
            click.echo(text)
            time.sleep(WATCH_S)
            text, working = standing(run, artifacts)
    except KeyboardInterrupt:
        return
    if watch:
        click.clear()
    click.echo(text)


def standing(run: str | None, artifacts: Path) -> tuple[str, bool]:
    """Return how a run stands, or all of them, in words, and whether somebody works on any of them."""
    from segcore.steps.run_folders import named_run, run_folders
    from segcore.steps.status import run_status
    from segcore.steps.status_text import run_text, runs_table

    now = datetime.now(UTC)
    if run is not None:
        status = run_status(named_run(run, artifacts))
        return run_text(status, now), status.state == "working"
    found = [run_status(folder) for folder in run_folders(artifacts)]
    text = runs_table(found, now) if found else f"no runs in {artifacts}"
    return text, any(status.state == "working" for status in found)


@click.command("cancel")
@click.argument("run")
@ARTIFACTS
def cancel_command(run: str, artifacts: Path) -> None:
    """Ask whoever works on RUN to stop, and wait until that is done. Checkpoints and finished steps are kept."""
    from segcore.steps.cancel import patience_s, request_cancel, wait_until_free
    from segcore.steps.run_folders import named_run

    folder = named_run(run, artifacts)
    holder = request_cancel(folder)
    if holder is None:
        click.echo(f"nobody works on {folder}, so there is nothing to cancel")
        return
    timeout_s = patience_s(folder)
    click.echo(f"asked {holder} to stop; waiting up to {timeout_s:g} s")
    for step in wait_until_free(folder, timeout_s):
        click.echo(f"  waiting for {step}")
    click.echo("stopped; start the run again with the command it was started with: it goes on where it stopped")


@click.command("logs")
@click.argument("run")
@click.option("--place", metavar="PLACE", help="Only logs of this step, or of all below, e.g. round_01/student.")
@click.option("--list", "listing", is_flag=True, help="List the logs, the newest last, instead of showing one.")
@click.option("--follow", is_flag=True, help="Show what is added for as long as somebody works on the run.")
@click.option("-n", "num_lines", type=click.IntRange(min=1), default=40, show_default=True, help="Lines of the end.")
@ARTIFACTS
def logs_command(run: str, place: str | None, listing: bool, follow: bool, num_lines: int, artifacts: Path) -> None:
    """Show the end of the log that was written to last, of RUN or of one of its steps."""
    from segcore.steps.logs import followed, header, last_lines, newest_log, run_logs
    from segcore.steps.run_folders import named_run

    folder = named_run(run, artifacts)
    if listing:
        for log in run_logs(folder, place):
            changed = datetime.fromtimestamp(log.changed_ns / 1e9, UTC).astimezone()
            click.echo(f"{changed:%Y-%m-%d %H:%M:%S}  {log.num_bytes / 1e3:9.1f} kB  {log.place}")
        return
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            for line in followed(folder, place, num_lines):
                click.echo(line)
        return
    path = newest_log(folder, place).path
    click.echo("\n".join([header(path), *last_lines(path, num_lines)]))


@click.command("gc")
@click.argument("run")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@ARTIFACTS
def gc_command(run: str, dry_run: bool, artifacts: Path) -> None:
    """Remove what neither a round of RUN, nor its outputs, nor the run as configured refers to.

    Nothing goes that starting the run again would reuse.
    """
    from segcore.steps.garbage import find_garbage, remove_garbage
    from segcore.steps.run_folders import named_run
    from segcore.store.lock import lock_run

    folder = named_run(run, artifacts)
    with lock_run(folder):
        found = find_garbage(folder)
        for item in found:
            click.echo(f"{item.num_bytes / 1e6:9.1f} MB  {item.path.relative_to(folder)}: {item.reason}")
            if not dry_run:
                remove_garbage(folder, item)
    total = sum(item.num_bytes for item in found) / 1e6
    click.echo(f"{total:9.1f} MB  in {len(found)} files and folders {'would be' if dry_run else 'were'} removed")


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

    Prefect's flow runs that say Running though nobody holds their run's lock are marked as Crashed. Exit code 0 when
    there is no problem, else 1.
    """
    from flows.embedded import prepare_prefect
    from segcore.steps.doctor import examine

    prepare_prefect()
    from flows.prefect_doctor import examine_prefect

    findings = [*examine(artifacts), *examine_prefect()]
    for finding in findings:
        colour = {"ok": "green", "note": "yellow", "problem": "red"}[finding.severity]
        click.echo(f"{click.style(f'{finding.severity:7}', fg=colour)}  {finding.message}")
        if finding.remedy:
            click.echo(f"         {finding.remedy}")
    problems = sum(finding.severity == "problem" for finding in findings)
    click.echo(f"{problems} problems" if problems else "all is well")
    sys.exit(1 if problems else 0)
