"""The command line. Each command imports what it needs when it runs, so that help and status answer at once."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from flows.cli_approve import approve_command
from flows.cli_cross_validate import cross_validate_command
from flows.cli_data import audit_command, demo_data_command, import_group, preview_augment_command
from flows.cli_lineage import diff_command, explain_command, purge_command
from flows.cli_predict import predict_command, vote_command
from flows.cli_runs import (
    cancel_command,
    doctor_command,
    gc_command,
    logs_command,
    status_command,
    verify_command,
)
from flows.cli_setup import setup_command, up_command
from flows.cli_use import evaluate_command, submit_command
from segcore.errors import SegloopError

EPILOG = """\b
Exit codes: 0 done, 1 unexpected error, 2 config, 3 data, 4 checkpoint, 5 run folder,
6 run is locked by another process, 7 config changed (see --update), 8 too few honest
images to score, 9 a step failed, 10 cancelled, 11 waits for approval, 130 interrupted.
"""


class Commands(click.Group):
    """A command group that prints segloop's own errors as one message, without traceback unless --debug."""

    def invoke(self, context: click.Context) -> Any:
        """Run the chosen command; turn errors into exit codes."""
        try:
            return super().invoke(context)
        except SegloopError as error:
            if context.params.get("debug"):
                traceback.print_exc()
            click.secho(f"error: {error}", fg="red", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            click.secho("interrupted; the same command goes on where this stopped", fg="yellow", err=True)
            sys.exit(130)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks and debug logs.")
@click.version_option(package_name="segloop")
def main(debug: bool) -> None:
    """A few labelled images and many unlabelled ones in; a better segmentation model and pseudo-annotations out."""
    lab_book(logging.DEBUG if debug else logging.INFO)


def lab_book(level: int) -> None:
    """Print segloop's own log lines plainly: time and message, warnings marked."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LabBookFormatter(datefmt="%H:%M:%S"))
    logger = logging.getLogger("segcore")
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = level <= logging.DEBUG


class LabBookFormatter(logging.Formatter):
    """Time and message; the level only where it matters."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        mark = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return f"{self.formatTime(record, self.datefmt)}  {mark}{record.getMessage()}"


@main.command("run")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Change one field; may be repeated.")
@click.option("--run-id", help="Name of the run; the same name goes on with the same run.")
@click.option("--update", is_flag=True, help="Accept a changed config or changed data and redo what depends on it.")
@click.option("--check", is_flag=True, help="Check config, data and weights, then stop.")
@click.option("--plan", is_flag=True, help="Print what would be reused and redone and why, then stop.")
def run_command(
    config: Path, overrides: tuple[str, ...], run_id: str | None, update: bool, check: bool, plan: bool
) -> None:
    """Run the loop of CONFIG, or go on with it: train, label, filter, retrain while an honest score improves.

    Interrupt it at any moment; the same command goes on where it stopped.
    """
    if check or plan:
        from flows.cli_checks import show_check, show_plan

        (show_check if check else show_plan)(config, overrides, run_id)
        return
    from segcore.config.load import load_config
    from segcore.steps.run import run_folder
    from segcore.store.lock import refuse_if_locked

    checked = load_config(config, overrides)  # neither a wrong config nor a held run should wait for Prefect to start
    refuse_if_locked(run_folder(checked, run_id))
    run_loop(config, overrides, run_id, update, checked.runtime.artifacts)


def run_loop(config: Path, overrides: tuple[str, ...], run_id: str | None, update: bool, artifacts: Path) -> None:
    """Run the flow in this process, with a Prefect server of its own unless PREFECT_API_URL names one."""
    from flows.embedded import prefect_server

    with prefect_server(artifacts / "prefect-server.log"):
        from flows.pseudo_label_loop import pseudo_label_loop

        summary = pseudo_label_loop(str(config.resolve()), run_id, update, list(overrides))
    gain, refit = summary.miou - summary.first_miou, Path(summary.outputs) / "refit"
    click.echo(
        f"\nbest round {summary.winner_index} of {summary.num_rounds}: gate mIoU {summary.miou:.4f} "
        f"({gain:+.4f} over round 0)\nstopped because {summary.stop_reason}\n"
        f"outputs  {summary.outputs}\nreport   {Path(summary.outputs) / 'report.html'}"
        + (f"\nrefit    {refit}   (trained on all labels, not scored)" if refit.is_dir() else "")
    )


for command in (
    status_command, logs_command, cancel_command, verify_command, gc_command, doctor_command, predict_command,
    submit_command, demo_data_command, audit_command, import_group, evaluate_command, approve_command,
    setup_command, up_command, explain_command, diff_command, purge_command, cross_validate_command, vote_command,
    preview_augment_command,
):  # fmt: skip
    main.add_command(command)


if __name__ == "__main__":
    main()
