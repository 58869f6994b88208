"""Does the agreement of views tell good predictions from bad ones? Measured on the gate images of a finished run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
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
from segcore.steps.finished import existing_run, published_index
from segcore.steps.index import class_map_of, ground_truth_path
from segcore.steps.label import PREDICTIONS
from segcore.trust.confusion import confusion_matrix, miou

MEASURES = ("agreement", "mean confidence")
CAVEATS = """Read with care. One model on one set of gate images; the mIoU of a single image, over the classes in its
truth or prediction, jumps with every small object. "Better half": the images that the measure ranks higher."""


@click.command("reliability")
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
def reliability(run: Path) -> None:
    """Measure how agreement and mean confidence rank the gate images of RUN's first student."""
    rows = measured(run)
    result = {"environment": describe(), "run": run.name, "images": rows, "measures": compared(rows)}
    write_page("reliability", result, page)


def measured(folder: Path) -> list[dict[str, Any]]:
    """Return agreement, mean confidence and mIoU of every gate image of a run's first student."""
    run = existing_run(folder)
    index = published_index(run)
    num_classes = class_map_of(run, index).num_classes
    (path,) = run.path.glob(f"round_00/evaluation.*/{PREDICTIONS}")
    with closing(LabelMaps(ground_truth_path(run, index))) as truth:
        return [row_of(item, truth[item.image_id], num_classes) for item in read_predictions(path)]


def row_of(prediction: Prediction, truth: NDArray[np.uint8], num_classes: int) -> dict[str, Any]:
    """Return the measures of one image, and how right it is."""
    if prediction.agreement is None:
        raise click.ClickException(f"{prediction.image_id} has one view, so nothing agrees; take a run with more")
    return {
        "image_id": prediction.image_id,
        "agreement": prediction.agreement,
        "mean confidence": float(LEVEL_EDGES[prediction.confidence].mean()),
        "miou": miou(confusion_matrix(truth, prediction.label_map, num_classes)),
    }


def compared(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return, for each measure, its rank correlation with mIoU and the mean mIoU of the two halves that it ranks."""
    found = {}
    for name in MEASURES:
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
        f"# Whether agreement of views tells good images from bad ones, {stamp}",
        "",
        CAVEATS,
        "",
        f"Run {result['run']}, round 0, {len(result['images'])} gate images.",
        "",
        "| ranked by | rank correlation with mIoU | mIoU of the better half | of the worse half |",
        "|---|---|---|---|",
        *(
            f"| {name} | {found['correlation']:.2f} | {found['better']:.3f} | {found['worse']:.3f} |"
            for name, found in result["measures"].items()
        ),
    ]
    return "\n".join(lines + last_lines(result["environment"], "reliability RUN"))
