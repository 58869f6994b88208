"""Objects of rare classes, cut out of the labelled training images: what copy-paste draws from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.nn.augment.example import Example, LabelMap
from segcore.nn.augment.geometry import resized, resized_map
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

    def label_map(self, index: int) -> LabelMap:
        """Return the label map alone."""


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


@dataclass(frozen=True)
class BankSpec:
    """How a bank is made. size: of training, px. seed: for the order in which images are gone through."""

    num_classes: int
    size: int
    seed: int


def object_bank(examples: Examples, spec: BankSpec) -> ObjectBank | None:
    """Return a bank of the classes rarer than the median class; None where no class is, or none has an object.

    Images are opened in random order, and only while they have a class that lacks objects and has memory left.
    """
    counts = class_counts(examples, spec)
    totals = counts.sum(axis=0)
    rare = rare_classes(totals)
    objects: dict[int, list[Example]] = {class_id: [] for class_id in rare}
    free = {class_id: BANK_BYTES // len(rare) for class_id in rare}
    for index in np.random.default_rng(spec.seed).permutation(len(examples)):
        wanted = [c for c in rare if counts[index, c] and free[c] > 0 and len(objects[c]) < MAX_OBJECTS]
        if not wanted:
            continue
        example = resized(examples.example(int(index)), spec.size)
        for class_id, found in objects_in(example, wanted, spec.size):
            objects[class_id].append(found)
            free[class_id] -= sum(array.nbytes for array in found.arrays)
    filled = {class_id: tuple(found) for class_id, found in objects.items() if found}
    return ObjectBank(filled, tuple(int(total) for total in totals)) if filled else None


def class_counts(examples: Examples, spec: BankSpec) -> NDArray[np.int64]:
    """Return how many pixels of each class each image has at training size: (N, C) int64."""
    counts = np.zeros((len(examples), spec.num_classes), np.int64)
    for index in range(len(examples)):
        label_map = resized_map(examples.label_map(index), spec.size)
        counts[index] = np.bincount(label_map.ravel(), minlength=256)[: spec.num_classes]
    return counts


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
