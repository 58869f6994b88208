"""What a teacher says on a grid of pixels, as whole probability vectors: enough to try how several would vote together.

Predictions hold the most probable class alone; a soft vote needs all. Of few thousand pixels an image they are small.
One zstd Parquet file, a row an image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from segcore.errors import DataError

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("shape", pa.list_(pa.int32()), nullable=False),
        pa.field("step_px", pa.int32(), nullable=False),
        pa.field("values", pa.binary(), nullable=False),
    ],
    metadata={"segloop.format": "votes/1"},
)
VALUE_TYPE = np.dtype("<f2")


@dataclass(frozen=True, eq=False)
class Votes:
    """What a teacher says of one image. step_px: distance of the grid's rows and columns; both begin with the first.

    values: (C, h, w) float16, the share each class gets of the teacher's vote; the class with the largest sum over
    teachers wins. Probabilities but for one-channel heads, whose threshold is moved to 0.5.
    """

    image_id: str
    values: NDArray[np.float16]
    step_px: int


def grid_step(size: tuple[int, int], max_px: int) -> int:
    """Return the distance of grid lines, px, that gives an image of (H, W) at most max_px grid points.

    >>> grid_step((512, 512), 4096), grid_step((64, 64), 4096), grid_step((65, 64), 4096)
    (8, 1, 2)
    """
    step = max(1, math.isqrt(size[0] * size[1] // max_px))
    while -(-size[0] // step) * -(-size[1] // step) > max_px:
        step += 1
    return step


def votes_path(predictions: Path) -> Path:
    """Return the votes file that goes with a predictions file."""
    return predictions.with_suffix(f".votes{predictions.suffix}")


class VoteWriter:
    """Write votes one after the other: `with VoteWriter(path) as writer`. Without any there is no file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parquet: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.parquet is not None:
            self.parquet.close()
            if kind is not None:
                self.path.unlink(missing_ok=True)

    def write(self, votes: Votes) -> None:
        """Append the votes on one image."""
        if self.parquet is None:
            self.parquet = pq.ParquetWriter(self.path, SCHEMA, compression="zstd", use_dictionary=False)
        row = {
            "image_id": votes.image_id,
            "shape": votes.values.shape,
            "step_px": votes.step_px,
            "values": votes.values.astype(VALUE_TYPE).tobytes(),
        }
        self.parquet.write_table(pa.Table.from_pylist([row], schema=SCHEMA))


def read_votes(path: Path) -> Iterator[Votes]:
    """Yield the votes in a file in the order they were written; DataError when it is none."""
    try:
        with pq.ParquetFile(path) as parquet:
            for group in range(parquet.num_row_groups):
                yield from (votes_of(row) for row in parquet.read_row_group(group).to_pylist())
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path}: must be a readable votes file: {error}; label calib again") from error


def votes_of(row: dict[str, Any]) -> Votes:
    """Return one row as Votes."""
    return Votes(row["image_id"], np.frombuffer(row["values"], VALUE_TYPE).reshape(row["shape"]), row["step_px"])
