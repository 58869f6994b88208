"""What `segloop run` shows with --check and --plan instead of running."""

from __future__ import annotations

import sys
from pathlib import Path

import click


def show_check(config_path: Path, overrides: tuple[str, ...], run_id: str | None) -> None:
    """Print what is wrong with config, data, weights and model; exit code of the first error, 0 without any."""
    from segcore.config.load import load_config
    from segcore.steps.check import check_run
    from segcore.steps.run import run_folder

    config = load_config(config_path, overrides)
    findings = check_run(config, run_folder(config, run_id))
    for finding in findings:
        colour = {"error": "red", "warning": "yellow", "ok": "green"}[finding.severity]
        click.echo(f"{click.style(f'{finding.severity:7}', fg=colour)}  {finding.message}")
    sys.exit(next((finding.exit_code for finding in findings if finding.severity == "error"), 0))


def show_plan(config_path: Path, overrides: tuple[str, ...], run_id: str | None) -> None:
    """Print the steps of a run in order: reused, redone because of which fields, or new; with time and disk."""
    from segcore.config.load import load_config
    from segcore.steps.plan import plan_run
    from segcore.steps.plan_estimate import estimate
    from segcore.steps.plan_text import plan_text
    from segcore.steps.run import run_folder

    config = load_config(config_path, overrides)
    plan = plan_run(config, run_folder(config, run_id))
    click.echo(plan_text(plan, estimate(plan, config)))
