"""Commands that use a model or a run: evaluate, submit; and what they share with predict."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

PathType = click.Path(path_type=Path)

checkpoint_option = click.option("--checkpoint", type=PathType, help="Weights file of a segmentation model.")
run_option = click.option("--run", help="Run folder, or run_id under artifacts/: takes the model in its outputs/.")
config_option = click.option(
    "--config", type=PathType, help="mmsegmentation config of the model; default: model_config.py beside the weights."
)
classes_option = click.option(
    "--classes", help="For a model from outside: names by class id, a,b,c, or a COCO file with its categories."
)
views_option = click.option(
    "--views", metavar="PX,PX", help="Longer sides of the test-time views; default: those of the model's run."
)
flip_option = click.option("--flip/--no-flip", default=None, help="Add the mirror image of each view.")
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 …")


@click.command("evaluate")
@checkpoint_option
@run_option
@config_option
@click.option("--annotations", type=PathType, required=True, help="COCO file with the truth.")
@click.option("--images", type=PathType, required=True, help="Folder its file names are relative to.")
@click.option("--json", "json_path", type=PathType, help="Write the result to this file too.")
@click.option(
    "--trained-on", multiple=True, metavar="DIR|COCO:DIR",
    help="Images the model was trained on, where no lineage.json tells; may be repeated.",
)  # fmt: skip
@click.option(
    "--foreign-unseen", is_flag=True,
    help="State that the model has seen none of these images nor copies of them; noted in the result.",
)  # fmt: skip
@click.option("--min-images", type=click.IntRange(min=1), help="Fewer honest images: no score. Default: the run's, 10.")
@click.option(
    "--unannotated", type=click.Choice(("background", "ignore")),
    help="Meaning of pixels without annotation; default: as in the model's run.",
)  # fmt: skip
@classes_option
@views_option
@flip_option
@device_option
def evaluate_command(
    checkpoint: Path | None,
    run: str | None,
    config: Path | None,
    annotations: Path,
    images: Path,
    json_path: Path | None,
    trained_on: tuple[str, ...],
    foreign_unseen: bool,
    min_images: int | None,
    unannotated: str | None,
    classes: str | None,
    views: str | None,
    flip: bool | None,
    device: str,
) -> None:
    """Score a model on labelled images that it, and its teachers, have never seen.

    Images in the model's lineage.json, and near-duplicates of them, are left out and counted; when too few are left
    there is no score. A model without lineage.json needs --trained-on or --foreign-unseen.
    """
    from segcore.steps.honest_set import Provenance, refuse_untold
    from segcore.steps.model_files import ModelRequest, find_model

    sizes = numbers(views)
    model = find_model(ModelRequest(run, text(checkpoint), text(config), classes))  # what is wrong, at once
    refuse_untold(model, Provenance(trained_on, foreign_unseen))
    with prefect():
        from flows.evaluate import evaluate

        result = evaluate(
            annotations=str(annotations), images=str(images), run=run, checkpoint=text(checkpoint), config=text(config),
            trained_on=list(trained_on), foreign_unseen=foreign_unseen, min_images=min_images, unannotated=unannotated,
            classes=classes, views=sizes, flip=flip, device=device, json_path=text(json_path),
        )  # fmt: skip
    click.echo(result.table)


@click.command("submit")
@click.argument("run", required=False)
@click.option("--out", type=PathType, help="CSV to write.")
@click.option(
    "--size", nargs=2, type=int, metavar="H W", help="Height and width, px; default: as the run's config says."
)
@click.option("--refit", is_flag=True, help="Label with the model of the final refit, which is not scored.")
@click.option("--validate", type=PathType, help="Check this CSV instead of writing one.")
@click.option("--names", type=PathType, help="With --validate and no RUN: COCO list of the test images, in order.")
@click.option("--num-classes", type=click.IntRange(1, 255), help="With --validate and no RUN; default 255: any id.")
def submit_command(
    run: str | None,
    out: Path | None,
    size: tuple[int, int] | None,
    refit: bool,
    validate: Path | None,
    names: Path | None,
    num_classes: int | None,
) -> None:
    """Write the competition CSV of a finished RUN at any size, or check one.

    Rows are in the order of the run's test list. At another size than the run's own the test images are labelled
    again, since class ids are never interpolated.
    """
    if validate is not None:
        check_submission(validate, run, size, names, num_classes)
        return
    if run is None or out is None:
        raise click.UsageError("give RUN and --out FILE to write a submission, or --validate FILE to check one")
    from segcore.steps.model_files import ModelRequest, find_model

    find_model(ModelRequest(run, None))  # what is wrong, at once
    with prefect():
        from flows.submission import make_submission

        summary = make_submission(run=run, out=str(out), size=size, refit=refit)
    click.echo(f"{summary.num_images} rows of {summary.size[0]} x {summary.size[1]}: {summary.out}")


def check_submission(
    path: Path, run: str | None, size: tuple[int, int] | None, names: Path | None, num_classes: int | None
) -> None:
    """Check a CSV against the test list of a run, or against --names."""
    from segcore.steps.submission import check_against_list, check_against_run

    if run is not None:
        num_rows = check_against_run(path, run, size)
    elif names is not None and size is not None:
        num_rows = check_against_list(path, names, size, num_classes)
    else:
        raise click.UsageError("--validate needs RUN, or --names FILE and --size HEIGHT WIDTH")
    click.echo(f"{path}: valid, {num_rows} rows")


@contextlib.contextmanager
def prefect() -> Iterator[None]:
    """Run Prefect for the block; the log of a temporary server goes with it."""
    from flows.embedded import prefect_server

    with tempfile.TemporaryDirectory(prefix="segloop-") as folder, prefect_server(Path(folder) / "prefect.log"):
        yield


def numbers(value: str | None) -> list[int] | None:
    """Return "256,384" as numbers."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdigit() for part in parts):
        raise click.BadParameter(f"must be whole numbers with commas between, got {value!r}", param_hint="--views")
    return [int(part) for part in parts]


def text(path: Path | None) -> str | None:
    """Return an optional path as Prefect parameters hold it."""
    return None if path is None else str(path)
