"""Commands that follow lineage: of an image, between two rounds, of what a teacher made."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli_runs import ARTIFACTS


@click.command("explain")
@click.argument("run")
@click.argument("image")
@ARTIFACTS
def explain_command(run: str, image: str, artifacts: Path) -> None:
    """Tell what became of IMAGE in RUN: its role, its pseudo-labels in each round, and who learnt from it.

    IMAGE: an image_id such as unlabeled_0/name.jpg, or a file_name.
    """
    from segcore.steps.explain import explain
    from segcore.steps.run_folders import named_run

    click.echo(explain(str(named_run(run, artifacts)), image))


@click.command("diff")
@click.argument("run")
@click.argument("first", type=click.IntRange(min=0))
@click.argument("second", type=click.IntRange(min=0))
@click.option("-n", "num_images", type=click.IntRange(min=0), default=10, show_default=True, help="Images to name.")
@ARTIFACTS
def diff_command(run: str, first: int, second: int, num_images: int, artifacts: Path) -> None:
    """Compare two rounds of RUN: settings, scores, thresholds, pseudo-labels, and the images that changed most."""
    from segcore.steps.diff_rounds import diff_rounds
    from segcore.steps.run_folders import named_run

    click.echo(diff_rounds(str(named_run(run, artifacts)), first, second, num_images))


@click.command("purge")
@click.argument("run")
@click.option("--teacher", required=True, metavar="DIGEST", help="Digest of the teacher's weights, or how it begins.")
@click.option("--itself", is_flag=True, help="The teacher's own training too, so that it is trained anew.")
@click.option("--yes", "confirmed", is_flag=True, help="Do it; without, only say what would be moved.")
@ARTIFACTS
def purge_command(run: str, teacher: str, itself: bool, confirmed: bool, artifacts: Path) -> None:
    """Move every pseudo-label and student of RUN that descends from a teacher to quarantine/, to be made anew.

    The next start of the run makes them; outputs/ stay as they are until then.
    """
    from segcore.steps.purge import descendants_of, purge, purge_lines
    from segcore.steps.run_folders import named_run
    from segcore.store.lock import lock_run

    folder = named_run(run, artifacts)
    with lock_run(folder):
        found = descendants_of(folder, teacher, itself)
        for line in purge_lines(folder, found):
            click.echo(line)
        if confirmed:
            purge(folder, found)
    what = "were moved to quarantine/; start the run again to make them anew" if confirmed else "would be moved (--yes)"
    click.echo(f"{len(found.steps)} steps and {len(found.rounds)} decisions {what}")
