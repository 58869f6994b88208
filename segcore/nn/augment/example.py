"""What augmentation turns into something else: an image with its label map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
LabelMap = NDArray[np.uint8]
PixelWeight = NDArray[np.uint8]
Box = tuple[slice, slice]  # rows, columns


@dataclass(frozen=True, eq=False)
class Example:
    """One image to learn from.

    image: (H, W, 3) uint8 BGR. label_map: (H, W) uint8, 255 ignored. pixel_weight: (H, W) uint8, 255 is full weight,
    for losses that trust some pixels more; None: all the same.
    """

    image: Image
    label_map: LabelMap
    pixel_weight: PixelWeight | None = None

    @property
    def height(self) -> int:
        """Return H."""
        return int(self.label_map.shape[0])

    @property
    def width(self) -> int:
        """Return W."""
        return int(self.label_map.shape[1])

    @property
    def arrays(self) -> tuple[NDArray[np.uint8], ...]:
        """Return all its arrays, each (H, W) or (H, W, 3)."""
        weight = () if self.pixel_weight is None else (self.pixel_weight,)
        return (self.image, self.label_map, *weight)

    def mapped(self, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Example:
        """Return the example with a change of shape or place, one that mixes no values, done to all its arrays."""
        weight = None if self.pixel_weight is None else change(self.pixel_weight)
        return Example(change(self.image), change(self.label_map), weight)

    def with_image(self, image: Image) -> Example:
        """Return the example with another image of the same size."""
        return replace(self, image=image)

    def contiguous(self) -> Example:
        """Return the example with its arrays in C order."""
        return self.mapped(np.ascontiguousarray)
