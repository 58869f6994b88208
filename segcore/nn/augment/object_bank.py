"""Objects of rare classes, cut out of the labelled training images: what copy-paste draws from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.nn.augment.example import Example
from segcore.nn.augment.geometry import resized
from segcore.records import IGNORE_INDEX

MARGIN_PX = 3  # of surroundings kept around an object, for its soft edge
OBJECT_SHARE = (0.0005, 0.25)  # of a square of the training size: smaller is debris, larger would hide the scene
MAX_OBJECTS = 300  # of one class
BANK_BYTES = 128 << 20  # of all classes


class Examples(Protocol):
    """Labelled images of any size."""

    def __len__(self) -> int:
        """Return how many there are."""

    def example(self, index: int) -> Example:
        """Return image and label map."""


@dataclass(frozen=True)
class ObjectBank:
    """Objects by class id, and how many pixels of the training images each class has.

    objects: as examples, at the size they have in an image whose longer side is the training size, with a margin; every
    pixel but the object's is ignored. num_pixels: by class id.
    """

    objects: dict[int, tuple[Example, ...]]
    num_pixels: tuple[int, ...]

    def drawn(self, rng: np.random.Generator) -> tuple[int, Example]:
        """Return a random class, all equally likely, and a random object of it."""
        class_id = tuple(self.objects)[rng.integers(len(self.objects))]
        return class_id, self.objects[class_id][rng.integers(len(self.objects[class_id]))]

    def rarer_than(self, class_id: int) -> tuple[int, ...]:
        """Return the classes with fewer pixels than one has."""
        return tuple(value for value, num in enumerate(self.num_pixels) if 0 < num < self.num_pixels[class_id])


def object_bank(
    examples: Examples, counts: NDArray[np.int64], size: int, seed: int, unannotated: int | None = None
) -> ObjectBank | None:
    """Return a bank of the classes rarer than the median class; None where no class is, or none has an object.

    Images are opened in random order, and only while they have a class that lacks objects and has memory left.
    counts: (N, C), pixels of each class in each image. size: of training, px. unannotated: the class of pixels that
    nobody drew, which has no objects; None where there is none.
    """
    totals = counts.sum(axis=0)
    rare = [class_id for class_id in rare_classes(totals) if class_id != unannotated]
    objects: dict[int, list[Example]] = {class_id: [] for class_id in rare}
    free = {class_id: BANK_BYTES // len(rare) for class_id in rare}
    for index in np.random.default_rng(seed).permutation(len(examples)):
        wanted = [c for c in rare if counts[index, c] and free[c] > 0 and len(objects[c]) < MAX_OBJECTS]
        if not wanted:
            continue
        example = resized(examples.example(int(index)), size)
        for class_id, found in objects_in(example, wanted, size):
            objects[class_id].append(found)
            free[class_id] -= sum(array.nbytes for array in found.arrays)
    filled = {class_id: tuple(found) for class_id, found in objects.items() if found}
    return ObjectBank(filled, tuple(int(total) for total in totals)) if filled else None


def rare_classes(totals: NDArray[np.int64]) -> tuple[int, ...]:
    """Return the classes with fewer pixels than the median of the classes that have any; the rarest first."""
    present = np.flatnonzero(totals)
    rare = present[totals[present] < np.median(totals[present])] if present.size else present
    return tuple(int(class_id) for class_id in sorted(rare, key=lambda class_id: totals[class_id]))


def objects_in(example: Example, wanted: Sequence[int], size: int) -> Iterator[tuple[int, Example]]:
    """Yield (class id, object) of the connected components of some classes in an image."""
    smallest, largest = (share * size * size for share in OBJECT_SHARE)
    image = np.pad(example.image, ((MARGIN_PX, MARGIN_PX), (MARGIN_PX, MARGIN_PX), (0, 0)), mode="edge")
    for class_id in wanted:
        mask = (example.label_map == class_id).astype(np.uint8)
        _, components, stats, _ = cv2.connectedComponentsWithStats(mask)
        components = np.pad(components, MARGIN_PX)
        for label, (left, top, width, height, area) in enumerate(stats.tolist()):
            if label and smallest <= area <= largest:
                box = np.s_[top : top + height + 2 * MARGIN_PX, left : left + width + 2 * MARGIN_PX]
                own = np.where(components[box] == label, class_id, IGNORE_INDEX).astype(np.uint8)
                yield class_id, Example(image[box].copy(), own)
