"""A competition CSV read by image id, in any order, one row in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segcore.errors import DataError
from segcore.outputs.submission import HEADER, split_row
from segcore.records import IGNORE_INDEX


class SubmissionRows:
    """The rows of a CSV; where they begin is read at once, their pixels when they are asked for.

    An image that has two rows, or another header, raises DataError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[str, int] = {}  # offset of the row in bytes
        try:
            self.find_rows()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: must be a readable UTF-8 CSV: {error}") from error

    def find_rows(self) -> None:
        """Note where each image's row begins."""
        with self.path.open("rb") as file:
            header = file.readline().decode("utf-8-sig").rstrip("\r\n")
            if header != HEADER:
                raise DataError(f"{self.path}: the header must be {HEADER}, got {header[:80]!r}")
            offset = file.tell()
            for line in file:
                name, _ = split_row(line.decode().rstrip("\r\n"))
                if name in self.places:
                    raise DataError(f"{self.path}: image {name!r} must have one row, and has two")
                self.places[name] = offset
                offset += len(line)

    def __getitem__(self, image_id: str) -> NDArray[np.uint8]:
        with self.path.open("rb") as file:
            file.seek(self.places[image_id])
            _, pixels = split_row(file.readline().decode().rstrip("\r\n"))
        try:
            class_ids = np.array(pixels.split(" "), dtype=np.int64)
        except ValueError:
            class_ids = np.array([-1])
        if class_ids.min() < 0 or class_ids.max() >= IGNORE_INDEX:
            raise DataError(
                f"{self.path}: {image_id}: a row must hold class ids 0 … {IGNORE_INDEX - 1} with single spaces between"
            )
        return class_ids.astype(np.uint8)
