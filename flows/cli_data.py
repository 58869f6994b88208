"""Commands about data: draw the demo, import masks, audit pseudo-labels against truth."""

from __future__ import annotations

from pathlib import Path

import click

LAYOUTS = ("plain", "voc", "cityscapes", "camvid")


@click.command("demo-data")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Same seed, same pictures.")
def demo_data_command(out: Path, seed: int) -> None:
    """Draw the demo data into OUT: photo-like waste scenes with labels."""
    from segcore.data.demo_data import DemoSpec, draw_demo_data

    counts = draw_demo_data(out, DemoSpec(seed=seed))
    click.echo(f"{out}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))


@click.group("import")
def import_group() -> None:
    """Bring labels of other forms into the COCO form that segloop reads."""


@import_group.command("masks")
@click.option("--images", type=click.Path(path_type=Path), required=True, help="Image folder.")
@click.option("--masks", type=click.Path(path_type=Path), required=True, help="Folder of index PNGs.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="COCO JSON to write.")
@click.option(
    "--layout", type=click.Choice(LAYOUTS), default="plain", show_default=True,
    help="How masks are named and what their values mean; plain: like the images, values as in --classes.",
)  # fmt: skip
@click.option("--classes", help="Class names of the mask values 0, 1, 2 …: a,b,c; default: those of the layout.")
def import_masks_command(images: Path, masks: Path, out: Path, layout: str, classes: str | None) -> None:
    """Turn index-PNG masks into a COCO file; ignored pixels stay ignored."""
    from segcore.data.import_masks import ImportSpec, import_masks

    names = None if classes is None else tuple(name.strip() for name in classes.split(","))
    summary = import_masks(ImportSpec(images, masks, out, layout, names))  # type: ignore[arg-type]  # click checked it
    click.echo(
        f"{out}: {summary.num_images} images, {summary.num_annotations} annotations, "
        f"{summary.ignored_share:.1%} of the pixels ignored"
    )
    for name, pixels in summary.pixels.items():
        click.echo(f"  {name:20} {pixels:>14,} px")


@click.command("audit")
@click.argument("run")
@click.option("--truth", type=click.Path(path_type=Path), required=True, help="COCO file with the pool's truth.")
@click.option("--round", "round_index", type=click.IntRange(min=1), help="Only this round's pseudo-labels.")
@click.option("--final", is_flag=True, help="Only the final pseudo-labels, those in outputs/.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures to this file too.")
def audit_command(run: str, truth: Path, round_index: int | None, final: bool, json_path: Path | None) -> None:
    """Tell how good the pseudo-labels of RUN really are, against truth that is given afterwards.

    RUN is a run folder, or a run_id under artifacts/. Truth is joined by file_name. Precision: right among the kept;
    coverage: true pixels that carry any label; recall: true pixels labelled right.
    """
    from segcore.steps.audit_labels import AuditSpec, audit_labels

    audits = audit_labels(AuditSpec(run, truth, round_index, final, json_path))
    click.echo("\n\n".join(audit.table for audit in audits))


@click.command("preview-augment")
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="Change one field; may be repeated.")
@click.option("--run-id", help="Take pseudo-labels from this run; default: the config's own.")
@click.option(
    "--out", type=click.Path(path_type=Path), default="preview-augment.png", show_default=True, help="PNG to write."
)  # fmt: skip
@click.option("--num", type=click.IntRange(1, 50), default=4, show_default=True, help="Images of each kind.")
@click.option("--seed", default=0, show_default=True, help="Another seed draws other images and changes.")
def preview_augment_command(
    config: Path, overrides: tuple[str, ...], run_id: str | None, out: Path, num: int, seed: int
) -> None:
    """Draw what the model will see of the images of CONFIG: ground truth and, once there are any, pseudo-labels.

    Nothing is trained, and no run is needed.
    """
    from segcore.config.load import load_config
    from segcore.steps.preview_augment import PreviewSpec, preview_augment
    from segcore.steps.run import run_folder

    checked = load_config(config, overrides)
    preview = preview_augment(checked, PreviewSpec(run_folder(checked, run_id), out, num, seed))
    pseudo = f"pseudo-labels of {preview.pseudo}" if preview.pseudo else "ground truth, as there are none yet"
    shown = f", {preview.num_pseudo} as pseudo-labelled ones ({pseudo})" if preview.num_pseudo else ""
    click.echo(f"{preview.out}: {preview.num_ground_truth} labelled images{shown}")
