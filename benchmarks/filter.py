"""How fast predictions become COCO pseudo-annotations, against the loop one would write first, and a whole filter step.

Both make the same annotations of the same predictions, in turn in one process, and what they wrote is compared. Then
new thresholds, of either policy, are put to predictions on disk (benchmarks/refilter.py).
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import cv2

from benchmarks.environment import describe
from benchmarks.filter_obvious import Setting, obvious_loop
from benchmarks.filter_page import markdown
from benchmarks.page import write_page
from benchmarks.refilter import (
    BOUNDARY_PX,
    CLASSES,
    MIN_COMPONENT_PX,
    NUM_CLASSES,
    NUM_DRAWN,
    SIZE_PX,
    Pictures,
    drawn_pictures,
    measure_refilter,
)
from segcore.config.label_schema import FilterConfig
from segcore.pseudo.annotations import AnnotationWriter, Origin, annotation_texts
from segcore.pseudo.confidence import level_for
from segcore.pseudo.filtering import filter_prediction
from segcore.pseudo.thresholds import Thresholds

TAU = 0.9
CUT = Thresholds(
    CLASSES.names,
    "fixed",
    1,
    (TAU,) * NUM_CLASSES,
    (level_for(TAU),) * NUM_CLASSES,
    (None,) * NUM_CLASSES,
    (None,) * NUM_CLASSES,
)
ORIGIN = Origin("0" * 64, 1, CUT.tau)


@click.command("filter")
@click.option("--repeats", type=click.IntRange(min=2), default=7, show_default=True, help="Pairs of runs.")
@click.option("--images", default=10_000, show_default=True, help="Predictions on disk to filter again.")
def filter_benchmark(repeats: int, images: int) -> None:
    """Measure threshold, boundary band, components, RLE and COCO in memory, then a whole filter step from disk."""
    with tempfile.TemporaryDirectory(prefix="filter-") as folder:
        drawn = drawn_pictures()
        result = {
            "environment": describe() | {"opencv": cv2.__version__, "load before": f"{os.getloadavg()[0]:.1f}"},
            "setting": {"size_px": SIZE_PX, "classes": NUM_CLASSES, "tau": TAU, "images": NUM_DRAWN}
            | {"boundary_px": BOUNDARY_PX, "min_component_px": MIN_COMPONENT_PX},
            "chain": measure_chain(drawn, repeats, Path(folder)),
            "refilter": measure_refilter(drawn, images, Path(folder)),
        }
    write_page("filter", result, markdown)


def measure_chain(drawn: Pictures, repeats: int, folder: Path) -> dict[str, Any]:
    """Time both ways in turn, on one core each; compare what they wrote. The first pair is not counted."""
    ways: dict[str, Callable[[Pictures, Path], None]] = {"obvious": write_obviously, "segloop": write_by_segloop}
    paths = {name: folder / f"{name}.json" for name in ways}
    cv2.setNumThreads(1)
    pairs = []
    for number in range(repeats + 1):
        order = list(ways) if number % 2 else list(reversed(ways))
        pairs.append({name: cpu_ms(ways[name], drawn, paths[name]) for name in order})
    same = same_annotations(*(json.loads(path.read_text()) for path in paths.values()))
    return {"pairs": pairs[1:], "annotations": same}


def cpu_ms(way: Callable[[Pictures, Path], None], drawn: Pictures, path: Path) -> dict[str, float]:
    """Return CPU and wall-clock milliseconds an image."""
    wall, cpu = time.perf_counter(), time.process_time()
    way(drawn, path)
    ended, spent = time.perf_counter() - wall, time.process_time() - cpu
    return {"cpu_ms": 1000 * spent / len(drawn.images), "wall_ms": 1000 * ended / len(drawn.images)}


def write_by_segloop(drawn: Pictures, path: Path) -> None:
    """Filter and export as the filter step does, in this process."""
    config = FilterConfig(boundary_px=BOUNDARY_PX, min_component_px=MIN_COMPONENT_PX)
    with AnnotationWriter(path, drawn.images, CLASSES, ORIGIN) as writer:
        for prediction in drawn.predictions:
            label = filter_prediction(prediction, CUT, config)
            writer.write(prediction.image_id, annotation_texts(label, CLASSES, ORIGIN))


def write_obviously(drawn: Pictures, path: Path) -> None:
    """Filter and export class by class, mask by mask."""
    document = obvious_loop(drawn.predictions, Setting(NUM_CLASSES, TAU, BOUNDARY_PX, MIN_COMPONENT_PX))
    path.write_text(json.dumps(document))


def same_annotations(first: dict[str, Any], second: dict[str, Any]) -> int:
    """Return how many annotations two COCO files share; ClickException unless they are the same but for their order.

    Scores may differ by one in the sixth digit, being sums in another order.
    """
    one, other = (sorted(map(sort_key, document["annotations"])) for document in (first, second))
    if [row[:-1] for row in one] != [row[:-1] for row in other]:
        raise click.ClickException("the two ways gave different annotations: nothing was measured")
    if any(abs(mine[-1] - theirs[-1]) > 1.5e-6 for mine, theirs in zip(one, other, strict=True)):
        raise click.ClickException("the two ways gave different scores: nothing was measured")
    return len(one)


def sort_key(entry: dict[str, Any]) -> tuple[Any, ...]:
    """Return what an annotation says, its score last; ignored regions have none."""
    shape = (entry["segmentation"]["counts"], entry["area"], tuple(entry["bbox"]))
    return (entry["image_id"], entry["category_id"], entry["iscrowd"], *shape, entry.get("score", 0.0))
