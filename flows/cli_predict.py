"""Commands that label a folder: predict, and vote over predictions that exist."""

from __future__ import annotations

from pathlib import Path

import click

from flows.cli_use import (
    PathType,
    classes_option,
    device_option,
    flip_option,
    numbers,
    prefect,
    run_option,
    views_option,
)

FORMATS = ("coco", "png", "overlay", "parquet", "csv")


@click.command("predict")
@click.option(
    "--checkpoint", "checkpoints", type=PathType, multiple=True,
    help="Weights file, or folder of a student or run. Repeat it for models that vote together.",
)  # fmt: skip
@run_option
@click.option(
    "--config", "configs", type=PathType, multiple=True,
    help="mmsegmentation config of the model; default: model_config.py beside the weights. With several models one "
    "for each, or for each that has none beside it, in the same order.",
)  # fmt: skip
@click.option(
    "--weight", "weights", type=float, multiple=True, help="Share of each model in the vote, in order; default: equal."
)
@click.option("--images", type=PathType, required=True, help="Image folder, subfolders included.")
@click.option("--out", type=PathType, required=True, help="Folder for the results.")
@click.option(
    "--format", "formats", type=click.Choice(FORMATS), multiple=True, default=("coco",), show_default="coco",
    help="coco: annotations; png: class ids as palette PNGs; overlay: photos with classes drawn over them; "
    "parquet: raw label maps with confidence; csv: competition rows. May be repeated.",
)  # fmt: skip
@click.option(
    "--size", nargs=2, type=int, default=(256, 256), metavar="H W", help="csv: height and width, px; default 256 256."
)
@classes_option
@views_option
@flip_option
@device_option
def predict_command(
    checkpoints: tuple[Path, ...],
    run: str | None,
    configs: tuple[Path, ...],
    weights: tuple[float, ...],
    images: Path,
    out: Path,
    formats: tuple[str, ...],
    size: tuple[int, int],
    classes: str | None,
    views: str | None,
    flip: bool | None,
    device: str,
) -> None:
    """Label a folder of images with a trained model, or with several that vote.

    Name the model by --run RUN or by --checkpoint FILE; any mmsegmentation checkpoint and config will do. Images that
    cannot be read are set aside and listed. The same command goes on where it was interrupted.
    """
    from segcore.steps.ensemble import EnsembleRequest, find_ensemble

    sizes = numbers(views)
    weights_files, config_files = tuple(map(str, checkpoints)), tuple(map(str, configs))
    find_ensemble(EnsembleRequest(run, weights_files, config_files, weights, classes))  # what is wrong, at once
    with prefect():
        from flows.predict import predict

        summary = predict(
            images=str(images), out=str(out), formats=formats, run=run, checkpoints=weights_files,
            configs=config_files, weights=weights, classes=classes, views=sizes, flip=flip, size=size, device=device,
        )  # fmt: skip
    for item in summary.quarantined:
        click.secho(f"set aside {item.image_id}: {item.reason}", fg="yellow", err=True)
    written = ", ".join(summary.written)
    click.echo(f"{summary.num_images} images labelled, {len(summary.quarantined)} set aside: {written}")


@click.command("vote")
@click.argument("results", nargs=-1, required=True, type=PathType)
@click.option("--out", type=PathType, required=True, help="File to write: .parquet or .csv, as the results are.")
@click.option(
    "--weight", "weights", type=float, multiple=True, help="Weight of each result, in order; default: all the same."
)
def vote_command(results: tuple[Path, ...], out: Path, weights: tuple[float, ...]) -> None:
    """Join RESULTS of several models for the same images: each pixel gets the class with the most weight.

    RESULTS are predictions files (.parquet), folders that hold them, or competition CSVs; images are joined by id,
    whatever their order. Among classes with equal weight, the one decides that the result with the largest weight
    chose, and of equal results the one named first. To average probabilities instead, give predict several models.
    """
    from segcore.steps.vote import VoteSpec, vote

    summary = vote(VoteSpec(tuple(map(str, results)), str(out), weights))
    click.echo(f"{summary.num_images} images, {summary.unanimous:.1%} of the pixels unanimous: {summary.out}")
