"""Predictions files read by image id, in any order, with a few row groups in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segcore.errors import DataError
from segcore.pseudo.predictions import Prediction, group_ids, open_predictions, prediction_of, read_group

GROUPS_IN_MEMORY = 4
Place = tuple[Path, int, int]  # file, row group, row


class PredictionsById:
    """The predictions of one or several files; their ids are read at once, their maps when they are asked for.

    Quick when images are asked for about in the order they were written. An image in two places raises DataError.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.places: dict[str, Place] = {}
        self.groups: OrderedDict[tuple[Path, int], Any] = OrderedDict()
        for path in paths:
            self.add(path)

    def add(self, path: Path) -> None:
        """Note where the images of a file lie."""
        with open_predictions(path) as parquet:
            for group in range(parquet.num_row_groups):
                for row, image_id in enumerate(group_ids(parquet, group)):
                    if image_id in self.places:
                        raise DataError(
                            f"{path}: image {image_id!r} must be there once, and is in {self.places[image_id][0]} too"
                        )
                    self.places[image_id] = (path, group, row)

    def __getitem__(self, image_id: str) -> Prediction:
        path, group, row = self.places[image_id]
        return prediction_of(self.table(path, group), row, path)

    def table(self, path: Path, group: int) -> Any:
        """Return a row group, from memory if it was among the last that were asked for."""
        key = (path, group)
        if key not in self.groups:
            with open_predictions(path) as parquet:
                self.groups[key] = read_group(parquet, group, path)
        self.groups.move_to_end(key)
        while len(self.groups) > GROUPS_IN_MEMORY:
            self.groups.popitem(last=False)
        return self.groups[key]
