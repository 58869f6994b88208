"""Label maps of many images in one Arrow file: written as a stream, read at random by image id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from segcore.errors import DataError

SCHEMA = pa.schema([("image_id", pa.string()), ("height", pa.int32()), ("width", pa.int32()), ("png", pa.binary())])
BATCH_IMAGES = 32  # label maps held in memory while writing
BATCH_BYTES = 64 << 20  # maps of confidence, which are not flat, come in smaller batches where images are large
# label maps are flat: without filter and with run lengths alone a PNG is smaller, and made and read twice as fast
PNG_OPTIONS = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 3),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)


def encode_png(label_map: NDArray[np.uint8]) -> bytes:
    """Return `label_map`, (H, W) uint8, as the bytes of a single-channel PNG; lossless."""
    if label_map.ndim != 2 or label_map.dtype != np.uint8 or label_map.size == 0:
        raise DataError(f"a label map must be a non-empty (H, W) uint8 array, got {label_map.shape} {label_map.dtype}")
    done, data = cv2.imencode(".png", np.ascontiguousarray(label_map), PNG_OPTIONS)
    if not done:
        raise DataError(f"OpenCV could not encode a label map of {label_map.shape} as PNG")
    return bytes(data.tobytes())


@dataclass(frozen=True)
class EncodedMap:
    """A label map as the file holds it. png: of (height, width) px, as encode_png gives it."""

    image_id: str
    height: int
    width: int
    png: bytes


def encode(image_id: str, label_map: NDArray[np.uint8]) -> EncodedMap:
    """Return a label map, (H, W) uint8, as the file holds it."""
    png = encode_png(label_map)
    height, width = label_map.shape
    return EncodedMap(image_id, height, width, png)


def write_label_maps(path: Path, items: Iterable[tuple[str, NDArray[np.uint8]]]) -> int:
    """Write (image_id, (H, W) uint8 label map, 255 = ignore) pairs to `path` in their order; return how many.

    Memory stays constant however many there are. Equal input gives equal bytes. A repeated image_id is an error.
    """
    with LabelMapWriter(path) as writer:
        for image_id, label_map in items:
            writer.write(encode(image_id, label_map))
    return len(writer.seen)


class LabelMapWriter:
    """A file of label maps that grows by `write`; whole after the `with` block it is used in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: set[str] = set()
        self.waiting: list[EncodedMap] = []

    def __enter__(self) -> Self:
        self._sink = pa.OSFile(str(self.path), "wb")
        self._writer = pa.ipc.new_file(self._sink, SCHEMA)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._write_waiting()
        self._writer.close()
        self._sink.close()

    def write(self, item: EncodedMap) -> None:
        """Append a label map; a repeated image_id is an error."""
        if item.image_id in self.seen:
            raise DataError(f"{self.path}: image ids must be unique, got {item.image_id!r} twice")
        self.seen.add(item.image_id)
        self.waiting.append(item)
        if len(self.waiting) == BATCH_IMAGES or sum(len(item.png) for item in self.waiting) >= BATCH_BYTES:
            self._write_waiting()

    def _write_waiting(self) -> None:
        if self.waiting:
            self._writer.write_batch(_record_batch(self.waiting))
            self.waiting.clear()


def _record_batch(batch: list[EncodedMap]) -> pa.RecordBatch:
    columns = [[getattr(item, field.name) for item in batch] for field in SCHEMA]
    return pa.record_batch([pa.array(*pair) for pair in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)


class LabelMaps:
    """A memory-mapped file of label maps; pickles by path, so data-loader workers may have a copy each."""

    def __init__(self, path: Path) -> None:
        """Open `path`, which write_label_maps wrote; only the image ids are read."""
        self.path = Path(path)
        try:
            self._file = pa.memory_map(str(self.path), "rb")
            self._reader = pa.ipc.open_file(self._file)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{self.path}: expected a label map file (Arrow IPC), got: {error}") from error
        if self._reader.schema != SCHEMA:
            raise DataError(f"{self.path}: expected the columns {SCHEMA.names}, got {self._reader.schema.names}")
        self._rows: dict[str, tuple[int, int]] = {}
        for batch_index in range(self._reader.num_record_batches):
            for row, image_id in enumerate(self._reader.get_batch(batch_index).column("image_id").to_pylist()):
                self._rows[image_id] = (batch_index, row)

    def __getitem__(self, image_id: str) -> NDArray[np.uint8]:
        """Return the label map of `image_id`: (H, W) uint8, 255 = ignore."""
        if image_id not in self._rows:
            raise DataError(f"{self.path}: has no label map for image {image_id!r}")
        batch_index, row = self._rows[image_id]
        batch = self._reader.get_batch(batch_index)
        data = np.frombuffer(batch.column("png")[row].as_buffer(), dtype=np.uint8)
        label_map = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
        expected = (batch.column("height")[row].as_py(), batch.column("width")[row].as_py())
        if label_map is None or label_map.shape != expected:
            raise DataError(f"{self.path}: the label map of {image_id!r} is damaged; delete the file to have it redone")
        return np.asarray(label_map, dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __reduce__(self) -> tuple[type[LabelMaps], tuple[Path]]:
        return (LabelMaps, (self.path,))

    def ids(self) -> tuple[str, ...]:
        """Return the image ids in the order they were written."""
        return tuple(self._rows)

    def close(self) -> None:
        """Unmap the file; no label map can be read afterwards."""
        self._rows = {}
        self._file.close()
