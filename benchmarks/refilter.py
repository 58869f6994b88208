"""New thresholds for predictions that lie on disk: the whole filter step, from files to files, for either policy."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.filter_pictures import draw_prediction
from segcore.config.label_schema import FilterConfig
from segcore.pseudo.build import ANNOTATIONS, PseudoLabelSpec, build_pseudo_labels, num_workers, pool_chunks
from segcore.pseudo.histograms import CalibHistogram
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.records import ClassMap, ImageRecord

SIZE_PX, NUM_CLASSES, NUM_DRAWN, PER_SHARD = 512, 11, 64, 500
BOUNDARY_PX, MIN_COMPONENT_PX = 2, 64

CLASSES = ClassMap(
    ("background", *(f"class {index}" for index in range(1, NUM_CLASSES))),
    ((0, 0, 0),) * NUM_CLASSES,
    (None, *range(1, NUM_CLASSES)),
)
NO_CALIB = CalibHistogram((), *[np.zeros(0, np.int64)] * 5)  # these policies take nothing from it
POLICIES = {
    policy: FilterConfig(policy=policy, share=0.7, boundary_px=BOUNDARY_PX, min_component_px=MIN_COMPONENT_PX)
    for policy in ("class_balanced", "fixed")
}


@dataclass(frozen=True)
class Pictures:
    """Predictions in memory and the records of their images."""

    predictions: tuple[Prediction, ...]
    images: tuple[ImageRecord, ...]


def drawn_pictures() -> Pictures:
    """Return the predictions that are measured on."""
    predictions = tuple(draw_prediction(f"u/{seed}.jpg", seed, SIZE_PX, NUM_CLASSES) for seed in range(NUM_DRAWN))
    return Pictures(predictions, tuple(record(item.image_id) for item in predictions))


def record(image_id: str) -> ImageRecord:
    """Return the record of a drawn image."""
    return ImageRecord(image_id, "u", image_id[2:], "0", SIZE_PX, SIZE_PX, "0", image_id, "unlabeled")


def measure_refilter(drawn: Pictures, num_images: int, folder: Path) -> dict[str, Any]:
    """Write predictions as shards, then time the filter step on them, from files to files."""
    images = tuple(record(f"u/{index}.jpg") for index in range(num_images))
    paths = write_shards(drawn, images, folder)
    spec = PseudoLabelSpec(paths, images, CLASSES, POLICIES["fixed"], "0" * 64, 1, None, None, NO_CALIB)
    return {
        "images": num_images,
        "workers": num_workers(images, num_images),
        "stored_mb": stored_mb(paths),
        "thresholds_cpu_s": thresholds_cpu_s(spec),
        "policies": {policy: refilter(replace(spec, filter=config), folder) for policy, config in POLICIES.items()},
    }


def write_shards(drawn: Pictures, images: tuple[ImageRecord, ...], folder: Path) -> tuple[Path, ...]:
    """Write predictions of images, those of drawn over and over; return the files."""
    starts = range(0, len(images), PER_SHARD)
    paths = tuple(folder / f"shard_{index:04d}.parquet" for index in range(len(starts)))
    for start, path in zip(starts, paths, strict=True):
        with PredictionWriter(path) as writer:
            for index, image in enumerate(images[start : start + PER_SHARD], start):
                source = drawn.predictions[index % NUM_DRAWN]
                writer.write(Prediction(image.image_id, source.label_map, source.confidence))
    return paths


def stored_mb(paths: tuple[Path, ...]) -> dict[str, float]:
    """Return the megabytes that each column takes in prediction files."""
    total: dict[str, float] = {}
    for path in paths:
        metadata = pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            for index in range(metadata.num_columns):
                column = metadata.row_group(group).column(index)
                name = column.path_in_schema
                total[name] = total.get(name, 0.0) + column.total_compressed_size / 1e6
    return total


def thresholds_cpu_s(spec: PseudoLabelSpec) -> float:
    """Return the CPU seconds that it takes to read all that thresholds follow from."""
    before = time.process_time()
    pool_chunks(spec)
    return time.process_time() - before


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
