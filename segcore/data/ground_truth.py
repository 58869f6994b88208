"""Ground truth of a run: annotations painted to label maps one by one, pixels counted on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from segcore.data.paint import paint_oriented
from segcore.data.scan import Scan
from segcore.data.sources import Dataset
from segcore.errors import DataError
from segcore.records import IGNORE_INDEX, Role


class PixelCount:
    """Ground-truth pixels by role and class. counts: role to (256,) int64, by label map value."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.counts: dict[str, NDArray[np.int64]] = {}

    def add(self, role: str, label_map: NDArray[np.uint8]) -> None:
        """Count the pixels of a label map, (H, W) uint8."""
        found = np.bincount(label_map.ravel(), minlength=IGNORE_INDEX + 1)
        self.counts[role] = self.counts.get(role, np.zeros(IGNORE_INDEX + 1, dtype=np.int64)) + found

    def classes(self) -> dict[str, tuple[int, ...]]:
        """Return, by role, the pixels of each class id."""
        return {role: tuple(counts[: self.num_classes].tolist()) for role, counts in sorted(self.counts.items())}

    def ignored(self) -> dict[str, int]:
        """Return, by role, the pixels that are ignored."""
        return {role: int(counts[IGNORE_INDEX]) for role, counts in sorted(self.counts.items())}


def ground_truth(
    dataset: Dataset, fill: int, scans: Sequence[Scan], roles: Mapping[str, Role], pixels: PixelCount
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield (image_id, (H, W) uint8 label map) of labelled images in order of image_id, counting into `pixels`.

    fill: value of pixels without annotation.
    """
    for scan in sorted(scans, key=lambda scan: scan.image.image_id):
        image = scan.image
        if image.coco is None or image.annotations is None:
            raise DataError(f"{image.image_id}: expected a labelled image")
        label_map = paint_oriented(image.coco, image.annotations, scan.header, dataset.class_map, fill)
        pixels.add(roles[image.image_id], label_map)
        yield image.image_id, label_map
