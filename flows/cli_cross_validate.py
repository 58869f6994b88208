"""The command cross-validate."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("cross-validate")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--folds", "num_folds", type=click.IntRange(2, 50), default=5, show_default=True, help="Chains to run.")
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Change one field; may be repeated.")
@click.option(
    "--run-id", help="What the run_ids begin with: RUN-fold0 and so on for the chains, RUN-cv for the result."
)
@click.option("--update", is_flag=True, help="Accept a changed config or changed data and redo what depends on it.")
@click.option("--plan", is_flag=True, help="Print for every chain what would be reused and redone, then stop.")
def cross_validate_command(
    config: Path, num_folds: int, overrides: tuple[str, ...], run_id: str | None, update: bool, plan: bool
) -> None:
    """Run the loop of CONFIG once a fold, each time without that fold, and score all folds as one.

    Train and val together are divided into folds. It takes as long as that many runs; interrupt it at any moment, the
    same command goes on where it stopped.
    """
    from segcore.steps.chains import chain_specs

    specs = chain_specs(str(config), num_folds, run_id, overrides)  # what is wrong, at once
    if plan:
        from flows.cli_checks import show_plan

        for spec in specs:
            show_plan(config, spec.overrides, spec.run_id)
            click.echo()
        click.echo(f"then, of all {num_folds}: the out-of-fold score, the ensemble's labels of the pool, outputs")
        return
    from flows.cli_use import prefect

    with prefect():
        from flows.cross_validate import cross_validate

        summary = cross_validate(str(config.resolve()), num_folds, run_id, update, list(overrides))
    click.echo(f"\n{summary.headline}")
    for text in summary.caveats:
        click.echo(f"  {text}")
    click.echo(f"outputs  {summary.outputs}\nreport   {Path(summary.outputs) / 'cross_validation.html'}")
