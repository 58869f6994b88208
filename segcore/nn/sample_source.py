"""Training images with their label maps, decoded once by all workers together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segcore.data.images import read_image
from segcore.data.label_maps import LabelMaps
from segcore.errors import DataError
from segcore.nn.augment.example import Example, PixelWeight
from segcore.nn.augment.geometry import resized
from segcore.nn.decoded_cache import DecodedCache
from segcore.process.jobs import Sample
from segcore.pseudo.confidence import LEVEL_EDGES

WEIGHT_OF_LEVEL = np.rint(LEVEL_EDGES * 255).astype(np.uint8)  # (256,)


class SampleSource:
    """Images with label maps, decoded once and kept while there is room.

    What is kept is already reduced to the largest side that augmentation can ask for, whether or not there is room:
    results do not depend on the cache. cache: one slot an image, longer_px high and wide. confidence: file with the
    levels of the label maps' pixels, by which they are weighed; None: all alike.
    """

    def __init__(
        self, samples: Sequence[Sample], maps: Path, longer_px: int, cache: DecodedCache, confidence: Path | None = None
    ) -> None:
        self.samples = sorted(samples, key=lambda sample: sample.image_id)
        self.maps_path = maps
        self.longer_px = longer_px
        self.cache = cache
        self.maps: LabelMaps | None = None
        self.confidence_path = confidence
        self.confidence: LabelMaps | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def example(self, index: int) -> Example:
        """Return an image as it is on disk, its longer side at most longer_px."""
        found = self.cache.get(index)
        if found is None:
            found = self.decoded(self.samples[index])
            self.cache.put(index, found)
        return found

    def decoded(self, sample: Sample) -> Example:
        """Read one sample from disk."""
        label_map, weights = self.opened_maps()[sample.image_id], self.pixel_weights(sample.image_id)
        found = Example(read_image(Path(sample.path)), label_map, weights)
        if found.image.shape[:2] != found.label_map.shape:
            raise DataError(
                f"{sample.path}: image and label map must be of one size, got {found.image.shape[:2]} and "
                f"{found.label_map.shape}; was the image changed after the index step?"
            )
        return resized(found, self.longer_px) if max(found.height, found.width) > self.longer_px else found

    def pixel_weights(self, image_id: str) -> PixelWeight | None:
        """Return the confidence in each pixel of a label map, (H, W) uint8, 255 for 1; None where it has no say."""
        if self.confidence_path is None:
            return None
        if self.confidence is None:
            self.confidence = LabelMaps(self.confidence_path)
        return WEIGHT_OF_LEVEL[self.confidence[image_id]]

    def opened_maps(self) -> LabelMaps:
        """Return the label maps, opened by whoever reads first."""
        if self.maps is None:
            self.maps = LabelMaps(self.maps_path)
        return self.maps
