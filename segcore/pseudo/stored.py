"""The stored predictions of a labelling by image id, and a sample of them that costs the same whatever the pool."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from segcore.pseudo.predictions import Prediction, group_ids, open_predictions, read_large_maps


class StoredPredictions:
    """Predictions of a labelling by image id; `stored[image_id]` reads a row group and keeps it until the next one.

    paths: predictions files of all shards. Asked for in the order of the files, each row group is read once.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.members = {(path, group): ids for path in paths for group, ids in enumerate(read_group_ids(path))}
        self.places = {image_id: place for place, ids in self.members.items() for image_id in ids}
        self.opened: tuple[Path, int] | None = None
        self.group: dict[str, Prediction] = {}

    def __contains__(self, image_id: str) -> bool:
        return image_id in self.places

    def __getitem__(self, image_id: str) -> Prediction:
        """Return the label map and confidence of an image."""
        place = self.places[image_id]
        if place != self.opened:
            path, group = place
            found = read_large_maps(path, (group,), frozenset(self.members[place]))
            self.group = {prediction.image_id: prediction for prediction in found}
            self.opened = place
        return self.group[image_id]


def read_group_ids(path: Path) -> Iterator[tuple[str, ...]]:
    """Yield the image ids of each row group of a predictions file; nothing else of it is read."""
    with open_predictions(path) as parquet:
        for group in range(parquet.num_row_groups):
            yield tuple(group_ids(parquet, group))


def sampled_ids(paths: Sequence[Path], wanted: frozenset[str], limit: int) -> tuple[str, ...]:
    """Return image ids of wanted, all of them or whole row groups until `limit`, in the order of the files.

    Which row groups follows from a hash of their first ids, so that a pool always gives the same sample.
    """
    groups = [tuple(i for i in ids if i in wanted) for path in paths for ids in read_group_ids(path)]
    groups = [ids for ids in groups if ids]
    ranks = sorted(range(len(groups)), key=lambda index: hashlib.sha256(groups[index][0].encode()).digest())
    chosen = sorted(taken(ranks, groups, limit))
    return tuple(itertools.chain.from_iterable(groups[index] for index in chosen))


def taken(ranks: Sequence[int], groups: Sequence[tuple[str, ...]], limit: int) -> Iterator[int]:
    """Yield ranks until their groups hold limit images."""
    num_images = 0
    for index in ranks:
        if num_images >= limit:
            return
        num_images += len(groups[index])
        yield index
