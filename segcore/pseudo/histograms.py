"""Histograms of confidence levels: all that thresholds and calibration need of the predictions.

For the pool, pixels by predicted class and level, which are stored beside the predictions. For calib images, which
have truth, the same by image, with the number of correct pixels beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from segcore.errors import DataError
from segcore.pseudo.confidence import NUM_LEVELS
from segcore.pseudo.predictions import Prediction
from segcore.records import IGNORE_INDEX

CALIB_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.dictionary(pa.int32(), pa.string())),
        pa.field("class_id", pa.uint8()),
        pa.field("level", pa.uint8()),
        pa.field("count", pa.int64()),
        pa.field("correct", pa.int64()),
    ],
    metadata={"segloop.format": "calib_histogram/1"},
)


class TruthMaps(Protocol):
    """Ground truth by image id: (H, W) uint8, 255 = ignore (segcore/data/label_maps.py)."""

    def __getitem__(self, image_id: str, /) -> NDArray[np.uint8]: ...


def pool_histogram(histograms: Iterable[tuple[str, NDArray[np.integer]]], num_classes: int) -> NDArray[np.int64]:
    """Return the sum of histograms of images: (C, 256) int64 pixels by predicted class and level, C being num_classes.

    histograms: image_id and (c, 256) pixels of each image, where c may be any number over its highest class id.
    """
    total = np.zeros((num_classes, NUM_LEVELS), np.int64)
    for image_id, histogram in histograms:
        if histogram[num_classes:].any():
            raise another_class_list(image_id, int(np.flatnonzero(histogram.any(axis=1))[-1]), num_classes)
        total[: len(histogram)] += histogram[:num_classes]
    return total


def another_class_list(image_id: str, class_id: int, num_classes: int) -> DataError:
    """Return the error of a predicted class id that is too high."""
    return DataError(
        f"{image_id}: predicted class ids must be under {num_classes}, "
        f"got {class_id}; the predictions are of another class list: label again"
    )


def cells(prediction: Prediction, num_classes: int) -> NDArray[np.uint16]:
    """Return class_id * 256 + level of every pixel, flat; a class id beyond num_classes raises DataError."""
    if prediction.label_map.size and prediction.label_map.max() >= num_classes:
        raise another_class_list(prediction.image_id, int(prediction.label_map.max()), num_classes)
    cell = prediction.label_map.astype(np.uint16) * np.uint16(NUM_LEVELS) + prediction.confidence
    return np.asarray(cell.ravel())


@dataclass(frozen=True, eq=False)
class CalibHistogram:
    """Pixels of calib images by image, predicted class and level; cells without pixels are left out.

    image_ids: N names. image_index, class_id, level, count, correct: (K,) integers, one per non-empty cell;
    image_index points into image_ids. correct <= count; pixels whose truth is ignore are not counted.
    """

    image_ids: tuple[str, ...]
    image_index: NDArray[np.int64]
    class_id: NDArray[np.int64]
    level: NDArray[np.int64]
    count: NDArray[np.int64]
    correct: NDArray[np.int64]

    def pooled(self, num_classes: int) -> NDArray[np.int64]:
        """Return (C, 256, 2) int64: pixels and correct pixels over all images."""
        total = np.zeros((num_classes * NUM_LEVELS, 2), np.int64)
        cell = self.class_id * NUM_LEVELS + self.level
        np.add.at(total, cell, np.stack([self.count, self.correct], axis=1))
        return total.reshape(num_classes, NUM_LEVELS, 2)


def calib_cells(prediction: Prediction, truth: NDArray[np.uint8], num_classes: int) -> Mapping[str, NDArray[np.int64]]:
    """Return class_id, level, count and correct of the non-empty cells of one image.

    truth: (H, W) uint8, 255 = ignore.
    """
    if truth.shape != prediction.label_map.shape:
        raise DataError(
            f"{prediction.image_id}: prediction is {prediction.label_map.shape} (H, W), truth {truth.shape}; "
            "they must be equal: index the data and label again"
        )
    scored = truth.ravel() != IGNORE_INDEX
    cell = cells(prediction, num_classes)[scored]
    hits = cell[(truth == prediction.label_map).ravel()[scored]]
    count = np.bincount(cell, minlength=num_classes * NUM_LEVELS)
    correct = np.bincount(hits, minlength=num_classes * NUM_LEVELS)
    filled = np.flatnonzero(count)
    return {
        "class_id": filled // NUM_LEVELS,
        "level": filled % NUM_LEVELS,
        "count": count[filled],
        "correct": correct[filled],
    }


def write_calib_histogram(path: Path, predictions: Iterable[Prediction], truth: TruthMaps, num_classes: int) -> int:
    """Write the calib histogram of predictions to a Parquet file; return the number of images."""
    num_images = 0
    with pq.ParquetWriter(path, CALIB_SCHEMA, compression="zstd") as writer:
        for prediction in predictions:
            columns: dict[str, Any] = dict(calib_cells(prediction, truth[prediction.image_id], num_classes))
            names = pa.array([prediction.image_id] * len(columns["level"]), pa.string()).dictionary_encode()
            arrays = [names, *(columns[field] for field in CALIB_SCHEMA.names[1:])]
            arrays = [pa.array(array).cast(field.type) for array, field in zip(arrays, CALIB_SCHEMA, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=CALIB_SCHEMA))
            num_images += 1
    return num_images


def read_calib_histogram(path: Path) -> CalibHistogram:
    """Read what write_calib_histogram wrote; images without a scored pixel are not in it."""
    try:
        with pq.ParquetFile(path) as file:  # read_table would import much more first
            table = file.read()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: must be a readable calib histogram: {error}; calibrate again") from error
    image_ids, image_index = np.unique(table["image_id"].to_numpy(), return_inverse=True)
    columns = [table[name].to_numpy().astype(np.int64) for name in CALIB_SCHEMA.names[1:]]
    return CalibHistogram(tuple(image_ids.tolist()), image_index.astype(np.int64), *columns)
