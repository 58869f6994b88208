"""Commands about data: draw the demo, import masks, audit pseudo-labels against truth."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("demo-data")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Same seed, same pictures.")
def demo_data_command(out: Path, seed: int) -> None:
    """Draw the demo data into OUT: photo-like waste scenes with labels."""
    from segcore.data.demo_data import DemoSpec, draw_demo_data

    counts = draw_demo_data(out, DemoSpec(seed=seed))
    click.echo(f"{out}: " + ", ".join(f"{count} {split}" for split, count in counts.items()))
