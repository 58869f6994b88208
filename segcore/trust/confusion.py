"""Confusion matrices per image: the only thing that scores, intervals and the gate need.

A confusion is a (C, C) int64 array [truth, prediction] of pixel counts. Pixels whose truth is 255 are left out. All
metrics are those of mmsegmentation's IoUMetric: counts are summed over images first, ratios are taken last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from segcore.errors import DataError
from segcore.records import IGNORE_INDEX

SCHEMA = pa.schema([("image_id", pa.string()), ("counts", pa.list_(pa.int64()))])


def confusion_matrix(truth: NDArray[np.uint8], pred: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """Count pixels by true and predicted class, leaving out pixels whose truth is 255.

    truth, pred: (H, W) uint8 class ids below num_classes; truth may hold 255. Returns (C, C) int64 [truth, prediction].
    Raises DataError when the shapes differ, or a scored pixel has a class id that does not exist.
    """
    if truth.shape != pred.shape:
        raise DataError(f"prediction must have the shape of its truth {truth.shape}, got {pred.shape}; label it again")
    scored = truth != IGNORE_INDEX
    rows, columns = truth[scored].astype(np.int64), pred[scored].astype(np.int64)
    for name, ids in (("truth", rows), ("prediction", columns)):
        if ids.size and int(ids.max()) >= num_classes:
            raise DataError(
                f"{name} must hold class ids below {num_classes} where truth is not {IGNORE_INDEX}, got {ids.max()};"
                " check that truth and model have the same classes"
            )
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def iou_from(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the IoU of each class.

    confusion: (..., C, C) [truth, prediction]. Returns (..., C) in [0, 1]; nan where a class is in neither.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    union = confusion.sum(axis=-1) + confusion.sum(axis=-2) - hits
    return ratio(hits, union)


def present_classes(confusion: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which classes have at least one pixel of truth. confusion: (C, C). Returns (C,) bool."""
    present: NDArray[np.bool_] = confusion.sum(axis=-1) > 0
    return present


def miou(confusion: NDArray[np.int64], classes: NDArray[np.bool_] | None = None) -> float:
    """Return the mean IoU in [0, 1], nan when there is nothing to average.

    confusion: (C, C). classes: (C,) bool, the classes to average over; None is mmseg's choice, every class that is in
    truth or prediction. Comparisons fix the classes, or a model would gain by dropping a class that truth lacks.
    """
    iou = iou_from(confusion)
    if classes is not None:
        iou = iou[classes]
    return mean_of_known(iou)


def aacc(confusion: NDArray[np.int64]) -> float:
    """Return the share of scored pixels that are right (mmseg's aAcc), nan without pixels. confusion: (C, C)."""
    total = int(confusion.sum())
    return float(np.trace(confusion)) / total if total else float("nan")


def macc(confusion: NDArray[np.int64]) -> float:
    """Return the mean over the classes in truth of their share of right pixels (mmseg's mAcc). confusion: (C, C)."""
    return mean_of_known(ratio(np.diagonal(confusion), confusion.sum(axis=-1)))


def ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return part / whole element by element, nan where whole is 0."""
    shape = np.broadcast_shapes(part.shape, whole.shape)
    result = np.full(shape, np.nan)
    np.divide(part, whole, out=result, where=whole > 0)
    return result


def mean_of_known(values: NDArray[np.float64]) -> float:
    """Return the mean of the values that are not nan; nan when there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


@dataclass(frozen=True)
class ConfusionTable:
    """The confusions of one checkpoint on a list of images.

    image_ids: N distinct ids. counts: (N, C, C) int64, [image, truth, prediction].
    """

    image_ids: tuple[str, ...]
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        shape = self.counts.shape
        if len(shape) != 3 or shape[0] != len(self.image_ids) or shape[1] != shape[2]:
            raise DataError(f"confusion counts must be ({len(self.image_ids)}, C, C), got {shape}; evaluate again")
        if len(set(self.image_ids)) != len(self.image_ids):
            raise DataError("confusion table must name each image once, got duplicates; evaluate again")

    @property
    def num_classes(self) -> int:
        """Return C."""
        return int(self.counts.shape[1])

    def total(self) -> NDArray[np.int64]:
        """Return the (C, C) sum over all images."""
        total: NDArray[np.int64] = self.counts.sum(axis=0)
        return total

    def select(self, image_ids: Sequence[str]) -> ConfusionTable:
        """Return the table of these images, in this order; DataError names an image that was not evaluated."""
        position = {image_id: index for index, image_id in enumerate(self.image_ids)}
        missing = [image_id for image_id in image_ids if image_id not in position]
        if missing:
            raise DataError(f"confusion table must hold {missing[0]!r}, found {len(position)} others; evaluate again")
        rows = np.array([position[image_id] for image_id in image_ids], dtype=np.intp)
        return ConfusionTable(tuple(image_ids), self.counts[rows])

    def write(self, path: Path) -> None:
        """Write the table as Parquet (image_id: string, counts: list<int64> of length C*C, row-major)."""
        flat = self.counts.reshape(len(self.image_ids), self.num_classes**2)
        columns = [pa.array(self.image_ids, pa.string()), pa.array(list(flat), pa.list_(pa.int64()))]
        metadata = {"num_classes": str(self.num_classes)}
        pq.write_table(pa.Table.from_arrays(columns, schema=SCHEMA.with_metadata(metadata)), path)

    @classmethod
    def read(cls, path: Path) -> ConfusionTable:
        """Read what write wrote; DataError when the file is not such a table."""
        try:
            with pq.ParquetFile(path) as file:  # read_table would import much more first
                table = file.read()
            num_classes = int((table.schema.metadata or {})[b"num_classes"])
            image_ids = tuple(table["image_id"].to_pylist())
            flat = table["counts"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            counts = flat.astype(np.int64).reshape(len(image_ids), num_classes, num_classes)
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise DataError(f"{path} must be a confusion table, cannot read it: {error}; evaluate again") from error
        return cls(image_ids, counts)
