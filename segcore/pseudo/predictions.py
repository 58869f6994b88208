"""Raw predictions of a teacher, one zstd Parquet file a shard, written and read as a stream.

Uncalibrated and unfiltered on purpose: thresholds can be changed and applied again without the model. Beside its maps
each image has their histogram, so that thresholds follow from some kilobytes an image.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from segcore.errors import DataError
from segcore.pseudo.confidence import NUM_LEVELS, count_levels

IMAGES_PER_ROW_GROUP = 8
BYTES_PER_ROW_GROUP = 64 << 20  # large images come in smaller groups, so that memory stays flat
Agreeing = Literal["views", "checkpoints"]
HISTOGRAM_TYPE = np.dtype("<u4")

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("label_map", pa.binary(), nullable=False),
        pa.field("confidence", pa.binary(), nullable=False),
        pa.field("small_label_map", pa.binary()),
        pa.field("small_height", pa.int32()),
        pa.field("small_width", pa.int32()),
        pa.field("histogram", pa.binary(), nullable=False),
        pa.field("agreement", pa.float64()),
        pa.field("checkpoint_agreement", pa.float64()),
    ],
    metadata={"segloop.format": "predictions/4"},  # 2: histograms; 3: agreement of views; 4: of checkpoints
)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a teacher says of one image.

    label_map: (H, W) uint8 class ids. confidence: (H, W) uint8 levels (segcore/pseudo/confidence.py).
    small_label_map: (h, w) uint8 class ids at submission size, from probabilities averaged to that size; None if the
    image is in no submission. histogram: (C, 256) integers, pixels by class id and level, where C is any number over
    the highest class id; None if it was not counted, or not read: it is counted when written. agreement: of the
    image's views (segcore/nn/agreement.py), in [0, 1]; None with one view, or not read. checkpoint_agreement: the
    same of earlier checkpoints of the teacher's training; None without, or not read.
    """

    image_id: str
    label_map: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    small_label_map: NDArray[np.uint8] | None = None
    histogram: NDArray[np.integer] | None = None
    agreement: float | None = None
    checkpoint_agreement: float | None = None

    def __post_init__(self) -> None:
        if self.label_map.shape != self.confidence.shape or self.label_map.ndim != 2:
            raise DataError(
                f"{self.image_id}: label_map and confidence must be one (H, W), "
                f"got {self.label_map.shape} and {self.confidence.shape}"
            )
        arrays = {"label_map": self.label_map, "confidence": self.confidence, "small_label_map": self.small_label_map}
        for name, array in arrays.items():
            if array is not None and (array.dtype != np.uint8 or array.ndim != 2):
                raise DataError(f"{self.image_id}: {name} must be 2-D uint8, got {array.ndim}-D {array.dtype}")
        if self.histogram is not None and self.histogram.shape[1:] != (NUM_LEVELS,):
            raise DataError(f"{self.image_id}: histogram must be (C, {NUM_LEVELS}), got {self.histogram.shape}")


class PredictionWriter:
    """Write predictions one after the other; `with PredictionWriter(path) as writer: writer.write(prediction)`.

    An exception inside the block removes the unfinished file. Equal predictions in equal order give equal bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[dict[str, Any]] = []
        self._num_bytes = 0
        self._parquet = pq.ParquetWriter(
            path, SCHEMA, compression="zstd", compression_level=3, use_dictionary=False, write_statistics=["image_id"]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._parquet.close()
        if kind is not None:
            self.path.unlink(missing_ok=True)

    def write(self, prediction: Prediction) -> None:
        """Append one prediction; the caller keeps image ids unique."""
        row = row_of(prediction)
        self._rows.append(row)
        self._num_bytes += 2 * len(row["label_map"])
        if len(self._rows) >= IMAGES_PER_ROW_GROUP or self._num_bytes >= BYTES_PER_ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._parquet.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._rows, self._num_bytes = [], 0


def row_of(prediction: Prediction) -> dict[str, Any]:
    """Return the Parquet row of a prediction."""
    height, width = prediction.label_map.shape
    small, histogram = prediction.small_label_map, prediction.histogram
    if histogram is None:
        histogram = count_levels(prediction.label_map, prediction.confidence)
    return {
        "image_id": prediction.image_id,
        "height": height,
        "width": width,
        "label_map": prediction.label_map.tobytes(),
        "confidence": prediction.confidence.tobytes(),
        "small_label_map": None if small is None else small.tobytes(),
        "small_height": None if small is None else small.shape[0],
        "small_width": None if small is None else small.shape[1],
        "histogram": histogram.astype(HISTOGRAM_TYPE).tobytes(),
        "agreement": prediction.agreement,
        "checkpoint_agreement": prediction.checkpoint_agreement,
    }


def read_predictions(path: Path, image_ids: Collection[str] | None = None) -> Iterator[Prediction]:
    """Yield the predictions of a file in the order they were written, all or those of image_ids.

    One row group is in memory at a time. The arrays are read-only. A damaged file raises DataError.
    """
    wanted = None if image_ids is None else frozenset(image_ids)
    ordered = sorted(wanted or ())
    with open_predictions(path) as parquet:
        for group in range(parquet.num_row_groups):
            if wanted is not None and not may_hold(parquet, group, ordered):
                continue
            if wanted is not None and wanted.isdisjoint(group_ids(parquet, group)):
                continue
            for row in range((table := read_group(parquet, group, path)).num_rows):
                prediction = prediction_of(table, row, path)
                if wanted is None or prediction.image_id in wanted:
                    yield prediction


def read_large_maps(path: Path, groups: Iterable[int], image_ids: Collection[str]) -> Iterator[Prediction]:
    """Yield the predictions of image_ids in some row groups; all but the two large maps is left out, and not read."""
    with open_predictions(path) as parquet:
        for group in groups:
            for row in range((table := read_group(parquet, group, path, SCHEMA.names[:5])).num_rows):
                if table["image_id"][row].as_py() in image_ids:
                    yield Prediction(*large_maps_of(table, row, path))


def read_image_ids(path: Path) -> tuple[str, ...]:
    """Return the image ids of a predictions file without reading its maps."""
    with open_predictions(path) as parquet:
        return tuple(parquet.read(columns=["image_id"])["image_id"].to_pylist())


def read_sizes(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield image_id, height and width in px of every image without reading its maps."""
    with open_predictions(path) as parquet:
        table = parquet.read(columns=["image_id", "height", "width"])
    yield from zip(*(column.to_pylist() for column in table.columns), strict=True)


def read_histograms(path: Path) -> Iterator[tuple[tuple[str, NDArray[np.uint32]], ...]]:
    """Yield, for each row group, the image_id and (C, 256) uint32 histogram of its images; the maps are not read."""
    columns = ["image_id", "height", "width", "histogram"]
    with open_predictions(path) as parquet:
        for group in range(parquet.num_row_groups):
            table = read_group(parquet, group, path, columns)
            yield tuple(
                (image_id, histogram_of(table, row, path)) for row, image_id in enumerate(table["image_id"].to_pylist())
            )


def read_agreements(path: Path, of: Agreeing = "views") -> Iterator[tuple[str, float | None]]:
    """Yield image_id and agreement of every image without reading its maps; None where it was not measured."""
    column = "agreement" if of == "views" else "checkpoint_agreement"
    with open_predictions(path) as parquet:
        table = parquet.read(columns=["image_id", column])
    yield from zip(*(column.to_pylist() for column in table.columns), strict=True)


def read_small_label_maps(path: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield image_id and (h, w) uint8 small label map of the images that have one; the large maps are not read."""
    columns = ["image_id", "small_label_map", "small_height", "small_width"]
    with open_predictions(path) as parquet:
        for group in range(parquet.num_row_groups):
            table = read_group(parquet, group, path, columns)
            for row in range(table.num_rows):
                small = small_map_of(table, row, path)
                if small is not None:
                    yield table["image_id"][row].as_py(), small


def open_predictions(path: Path) -> Any:
    """Open a predictions file, refusing anything else."""
    try:
        parquet = pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: must be a readable predictions file: {error}; label its shard again") from error
    if parquet.schema_arrow.remove_metadata() != SCHEMA.remove_metadata():
        parquet.close()
        raise DataError(
            f"{path}: must have the columns {SCHEMA.names}, got {parquet.schema_arrow.names}; label its shard again"
        )
    return parquet


def may_hold(parquet: Any, group: int, wanted: list[str]) -> bool:
    """Tell whether a row group may hold one of the wanted images, sorted, judging by its least and greatest id."""
    ids = parquet.metadata.row_group(group).column(SCHEMA.names.index("image_id")).statistics
    if ids is None or not ids.has_min_max:
        return True
    first = bisect_left(wanted, ids.min)
    return first < len(wanted) and wanted[first] <= ids.max


def group_ids(parquet: Any, group: int) -> list[str]:
    """Return the image ids of one row group."""
    ids: list[str] = parquet.read_row_group(group, columns=["image_id"])["image_id"].to_pylist()
    return ids


def read_group(parquet: Any, group: int, path: Path, columns: list[str] | None = None) -> Any:
    """Return one row group as a table, all columns or some."""
    try:
        return parquet.read_row_group(group, columns=columns).combine_chunks()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: row group {group} is damaged: {error}; label its shard again") from error


def prediction_of(table: Any, row: int, path: Path) -> Prediction:
    """Return one row of a table as a Prediction whose arrays share the table's memory."""
    maps = (*large_maps_of(table, row, path), small_map_of(table, row, path), histogram_of(table, row, path))
    return Prediction(*maps, table["agreement"][row].as_py(), table["checkpoint_agreement"][row].as_py())


def large_maps_of(table: Any, row: int, path: Path) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]]:
    """Return image_id, label map and confidence of one row."""
    image_id = table["image_id"][row].as_py()
    shape = (table["height"][row].as_py(), table["width"][row].as_py())
    label_map, confidence = (map_of(table[name][row], shape, f"{path}: {image_id}") for name in SCHEMA.names[3:5])
    return image_id, label_map, confidence


def small_map_of(table: Any, row: int, path: Path) -> NDArray[np.uint8] | None:
    """Return the small label map of one row, None if it has none."""
    cell = table["small_label_map"][row]
    if not cell.is_valid:
        return None
    shape = (table["small_height"][row].as_py(), table["small_width"][row].as_py())
    return map_of(cell, shape, f"{path}: {table['image_id'][row]}")


def histogram_of(table: Any, row: int, path: Path) -> NDArray[np.uint32]:
    """Return the histogram of one row: (C, 256) uint32, read-only."""
    flat = np.frombuffer(table["histogram"][row].as_buffer(), dtype=HISTOGRAM_TYPE)
    num_pixels = table["height"][row].as_py() * table["width"][row].as_py()
    if flat.size % NUM_LEVELS or flat.sum() != num_pixels:
        raise DataError(
            f"{path}: {table['image_id'][row]}: a histogram must have {NUM_LEVELS} counts a class of {num_pixels} px "
            f"altogether, got {flat.size} counts of {flat.sum()} px; label its shard again"
        )
    flat.flags.writeable = False  # the memory belongs to the table
    return flat.reshape(-1, NUM_LEVELS)


def map_of(cell: Any, shape: tuple[int, int], what: str) -> NDArray[np.uint8]:
    """Return a binary cell as (H, W) uint8, read-only."""
    flat = np.frombuffer(cell.as_buffer(), dtype=np.uint8)
    if flat.size != shape[0] * shape[1]:
        raise DataError(f"{what}: a map of {shape[0]} x {shape[1]} px must have as many bytes, got {flat.size}")
    flat.flags.writeable = False  # the memory belongs to the table
    return flat.reshape(shape)
