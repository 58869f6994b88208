"""How fast predictions become COCO pseudo-annotations, against the loop one would write first, and a whole filter step.

Both make the same annotations of the same predictions, in turn in one process, and what they wrote is compared.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from benchmarks.environment import describe
from benchmarks.filter_obvious import Setting, obvious_loop
from benchmarks.filter_pictures import draw_prediction
from segcore.config.schema import FilterConfig
from segcore.pseudo.annotations import AnnotationWriter, Origin, annotation_texts
from segcore.pseudo.build import ANNOTATIONS, PseudoLabelSpec, build_pseudo_labels, num_workers
from segcore.pseudo.confidence import level_for
from segcore.pseudo.filtering import filter_prediction
from segcore.pseudo.histograms import CalibHistogram
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.pseudo.thresholds import Thresholds
from segcore.records import ClassMap, ImageRecord

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SIZE_PX, NUM_CLASSES, NUM_DRAWN, PER_SHARD = 512, 11, 64, 500
TAU, BOUNDARY_PX, MIN_COMPONENT_PX = 0.9, 2, 64
GOAL_RATIO, GOAL_PER_CORE, GOAL_REFILTER_S = 5, 200, 60

CLASSES = ClassMap(
    ("background", *(f"class {index}" for index in range(1, NUM_CLASSES))),
    ((0, 0, 0),) * NUM_CLASSES,
    (None, *range(1, NUM_CLASSES)),
)
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
CALIB = CalibHistogram((), *[np.zeros(0, np.int64)] * 5)


@dataclass(frozen=True)
class Pictures:
    """Predictions in memory and the records of their images."""

    predictions: tuple[Prediction, ...]
    images: tuple[ImageRecord, ...]


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
    stamp = f"{datetime.now(UTC):%Y-%m-%d}"
    path = RESULTS / f"{stamp}-filter.md"
    path.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    path.write_text(markdown(result, stamp), encoding="utf-8")
    click.echo(markdown(result, stamp))


def drawn_pictures() -> Pictures:
    """Return the predictions that are measured on."""
    predictions = tuple(draw_prediction(f"u/{seed}.jpg", seed, SIZE_PX, NUM_CLASSES) for seed in range(NUM_DRAWN))
    return Pictures(predictions, tuple(record(item.image_id) for item in predictions))


def record(image_id: str) -> ImageRecord:
    """Return the record of a drawn image."""
    return ImageRecord(image_id, "u", image_id[2:], "0", SIZE_PX, SIZE_PX, "0", image_id, "unlabeled")


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


def measure_refilter(drawn: Pictures, num_images: int, folder: Path) -> dict[str, Any]:
    """Write predictions as shards, then time the filter step on them, from files to files."""
    images = tuple(record(f"u/{index}.jpg") for index in range(num_images))
    shards = tuple(images[first : first + PER_SHARD] for first in range(0, num_images, PER_SHARD))
    paths = tuple(folder / f"shard_{index:04d}.parquet" for index in range(len(shards)))
    for number, (path, members) in enumerate(zip(paths, shards, strict=True)):
        with PredictionWriter(path) as writer:
            for index, image in enumerate(members, number * PER_SHARD):
                source = drawn.predictions[index % NUM_DRAWN]
                writer.write(Prediction(image.image_id, source.label_map, source.confidence))
    config = FilterConfig(share=0.7, boundary_px=BOUNDARY_PX, min_component_px=MIN_COMPONENT_PX)
    spec = PseudoLabelSpec(paths, images, CLASSES, config, "0" * 64, 1, None, None, CALIB)
    return {
        "images": num_images,
        "workers": num_workers(images, num_images),
        "predictions_mb": sum(path.stat().st_size for path in paths) / 1e6,
        **refilter(spec, folder),
    }


def refilter(spec: PseudoLabelSpec, folder: Path) -> dict[str, float]:
    """Run a filter step; return seconds, of the clock and of all cores, and the peak memory of one worker."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        started, before = time.perf_counter(), cpu_seconds()
        value = build_pseudo_labels(spec, Path(out))
        wall_s, cpu_s = time.perf_counter() - started, cpu_seconds() - before
        megabytes = (Path(out) / ANNOTATIONS).stat().st_size / 1e6
    worker_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    annotations = float(value["num_annotations"])
    load = os.getloadavg()[0]
    measured = {"wall_s": wall_s, "cpu_s": cpu_s, "load_after": load, "worker_peak_mb": worker_mb}
    return measured | {"annotations": annotations, "annotations_mb": megabytes}


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its ended children, in seconds."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def markdown(result: dict[str, Any], stamp: str) -> str:
    """Return the result file."""
    pairs, setting = result["chain"]["pairs"], result["setting"]
    ours, obvious = ([pair[name]["cpu_ms"] for pair in pairs] for name in ("segloop", "obvious"))
    ratios = [theirs / mine for theirs, mine in zip(obvious, ours, strict=True)]
    rates = [1000 / value for value in ours]
    lines = [
        f"# Filter and export, {stamp}",
        "",
        "Read with care: drawn predictions, one machine, and **others were working on it meanwhile** (load below):",
        "clock times are far longer than on a machine left alone, and CPU times somewhat, for both ways alike.",
        "",
        f"Threshold, ignore, boundary band ({setting['boundary_px']} px), components of "
        f"{setting['min_component_px']} px and more, RLE, COCO file:",
        f"{setting['images']} images of {setting['size_px']} px with {setting['classes']} classes, "
        f"{result['chain']['annotations']} annotations, compared and equal. One core, {len(pairs)} pairs in turn.",
        "",
        "| | median | least | most | goal |",
        "|---|---|---|---|---|",
        row("the obvious loop, CPU ms an image", obvious, "", 1),
        row("segloop, CPU ms an image", ours, "", 1),
        row("segloop, images a second and core", rates, f"at least {GOAL_PER_CORE}", 0),
        row("times as fast", ratios, f"at least {GOAL_RATIO}", 1),
        "",
        *refilter_lines(result["refilter"]),
        "",
        *verdicts(statistics.median(ratios), statistics.median(rates), result["refilter"]),
        "",
        "Environment: " + ", ".join(f"{name} {value}" for name, value in result["environment"].items()),
        "",
        "`python -m benchmarks filter`",
    ]
    return "\n".join(lines) + "\n"


def row(name: str, values: Sequence[float], goal: str, digits: int) -> str:
    """Return a line of the first table."""
    cells = (statistics.median(values), min(values), max(values))
    return f"| {name} | " + " | ".join(f"{value:.{digits}f}" for value in cells) + f" | {goal} |"


def refilter_lines(run: dict[str, float]) -> list[str]:
    """Return what the filter step on files took."""
    return [
        f"New class-balanced thresholds for {run['images']} labelled images ({NUM_DRAWN} drawn ones over and over):",
        "the whole filter step from files to files, with label maps and quality card, in two passes over "
        f"{run['predictions_mb']:.0f} MB of",
        f"predictions by {run['workers']} processes. Goal: under {GOAL_REFILTER_S} s on two cores.",
        "",
        "| s | CPU s of all processes | CPU s / 2 | load after | annotations | JSON, MB | peak of a process, MB |",
        "|---|---|---|---|---|---|---|",
        f"| {run['wall_s']:.1f} | {run['cpu_s']:.1f} | {run['cpu_s'] / 2:.1f} | {run['load_after']:.1f} "
        f"| {run['annotations']:.0f} | {run['annotations_mb']:.0f} | {run['worker_peak_mb']:.0f} |",
    ]


def verdicts(ratio: float, per_core: float, refilter: dict[str, float]) -> list[str]:
    """Return whether each goal was reached, as sentences; CPU time says what other programs have to do with it."""
    wall_s, share_s = refilter["wall_s"], refilter["cpu_s"] / 2
    goals = (
        (f"{ratio:.1f} times as fast as the obvious loop", ratio >= GOAL_RATIO, GOAL_RATIO),
        (f"{per_core:.0f} images a second and core", per_core >= GOAL_PER_CORE, GOAL_PER_CORE),
        (
            f"{wall_s:.0f} s by the clock for new thresholds, {share_s:.0f} s of them at work on each of two cores",
            wall_s < GOAL_REFILTER_S,
            GOAL_REFILTER_S,
        ),
    )
    return [f"- {text}: {'reached' if met else 'NOT reached'} (goal {goal})." for text, met, goal in goals]
