"""Do agreement of views, and of checkpoints, tell good predictions from bad ones? Measured on a finished run."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.environment import describe
from benchmarks.page import last_lines, write_page
from segcore.data.label_maps import LabelMaps
from segcore.pseudo.confidence import LEVEL_EDGES
from segcore.pseudo.predictions import Prediction, read_predictions
from segcore.steps.audit_labels import write_truth
from segcore.steps.finished import existing_run, published_index
from segcore.steps.index import Index, class_map_of, ground_truth_path
from segcore.steps.label import PREDICTIONS
from segcore.steps.run import Run
from segcore.trust.confusion import confusion_matrix, miou

VIEWS, CHECKPOINTS, CONFIDENCE = "agreement of views", "agreement of checkpoints", "mean confidence"
CAVEATS = """Read with care. One model on one set of images; the mIoU of a single image, over the classes in its truth
or prediction, jumps with every small object. "Better half": the images that the measure ranks higher."""


@click.command("reliability")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--truth", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Of the pool; else gate images."
)
def reliability(run: Path, truth: Path | None) -> None:
    """Measure how agreements and mean confidence rank the gate images of RUN's first student, or its pool.

    Agreement of checkpoints is there in runs with filter.reliability: checkpoints and reliable_share below 1.
    """
    rows = measured(run, truth)
    images = "gate images" if truth is None else "images of the pool"
    result = {"environment": describe(), "run": run.name, "of": images, "images": rows, "measures": compared(rows)}
    write_page("reliability" if truth is None else "reliability-pool", result, page)


def measured(folder: Path, truth: Path | None) -> list[dict[str, Any]]:
    """Return the measures and the mIoU of every image with truth that a run's first student predicted."""
    run = existing_run(str(folder))
    index = published_index(run)
    num_classes = class_map_of(run, index).num_classes
    place = "round_00/evaluation" if truth is None else "round_01/labels/shard_*"
    paths = sorted(run.path.glob(f"{place}.*/{PREDICTIONS}"))
    with truth_maps(run, index, truth) as maps:
        return [
            row_of(item, maps[item.image_id], num_classes)
            for path in paths
            for item in read_predictions(path, None if truth is None else frozenset(maps.ids()))
        ]


@contextmanager
def truth_maps(run: Run, index: Index, truth: Path | None) -> Iterator[LabelMaps]:
    """Give the truth of labelled images, or of the pool as a COCO file has it."""
    if truth is None:
        with closing(LabelMaps(ground_truth_path(run, index))) as maps:
            yield maps
        return
    with TemporaryDirectory() as folder:
        write_truth(run, index, truth, Path(folder) / "truth.arrow")
        with closing(LabelMaps(Path(folder) / "truth.arrow")) as maps:
            yield maps


def row_of(prediction: Prediction, truth: NDArray[np.uint8], num_classes: int) -> dict[str, Any]:
    """Return the measures of one image, and how right it is."""
    found = {
        VIEWS: prediction.agreement,
        CHECKPOINTS: prediction.checkpoint_agreement,
        CONFIDENCE: float(LEVEL_EDGES[prediction.confidence].mean()),
    }
    right = miou(confusion_matrix(truth, prediction.label_map, num_classes))
    return {"image_id": prediction.image_id, "miou": right, **{k: v for k, v in found.items() if v is not None}}


def compared(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return, for each measure of the rows, its rank correlation with mIoU and the mean mIoU of its two halves."""
    found = {}
    for name in (measure for measure in (VIEWS, CHECKPOINTS, CONFIDENCE) if measure in rows[0]):
        ordered = sorted(rows, key=lambda row: -row[name])
        middle = (len(ordered) + 1) // 2
        better, worse = ([row["miou"] for row in half] for half in (ordered[:middle], ordered[middle:]))
        correlation = spearmanr([row[name] for row in rows], [row["miou"] for row in rows]).statistic
        found[name] = {
            "correlation": float(correlation),
            "better": statistics.fmean(better),
            "worse": statistics.fmean(worse),
        }
    return found


def page(result: dict[str, Any], stamp: str) -> str:
    """Return the result as a page."""
    lines = [
        f"# Whether agreement tells good images from bad ones, {stamp}",
        "",
        CAVEATS,
        "",
        f"Run {result['run']}, round 0, {len(result['images'])} {result['of']}.",
        "",
        "| ranked by | rank correlation with mIoU | mIoU of the better half | of the worse half |",
        "|---|---|---|---|",
        *(
            f"| {name} | {found['correlation']:.2f} | {found['better']:.3f} | {found['worse']:.3f} |"
            for name, found in result["measures"].items()
        ),
    ]
    return "\n".join(lines + last_lines(result["environment"], "reliability RUN [--truth FILE]"))
