"""Division of labelled images into parts that have the same mix of classes."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ROUNDING = 1e-9  # images: shares such as 0.7 are not exact


@dataclass(frozen=True)
class LabelledImage:
    """What a division looks at. source: "train", "val" or "test". class_ids: classes that occur in the image."""

    image_id: str
    source: str
    group: str
    class_ids: frozenset[int]


@dataclass(frozen=True)
class Unit:
    """A group of images, which goes to one part as a whole. counts: images by class."""

    group: str
    image_ids: tuple[str, ...]
    counts: Mapping[int, int]


def stratify(images: Sequence[LabelledImage], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Return the part of each image_id; parts get about `shares` (summing to 1) of the images and of every class.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas, "On the stratification of multi-label data", 2011) over
    whole groups: the rarest class is placed first, each time where most of it is still wanted, but never in a part
    that is full while another is not. The result depends on the seed and the set of images, not on their order.
    """
    waiting = {unit.group: unit for unit in _units(images, seed)}
    wanted = {part: share * len(images) for part, share in shares.items()}
    totals = Counter(class_id for image in images for class_id in image.class_ids)
    wanted_of: dict[str, dict[int | None, float]] = {
        part: {c: share * totals[c] for c in totals} for part, share in shares.items()
    }
    result: dict[str, str] = {}
    queues = _queues(waiting.values())
    while waiting:
        rarest = min((c for c in totals if totals[c] > 0), key=lambda c: (totals[c], c), default=None)
        unit = _next_unit(waiting, queues[rarest])
        part = max(
            shares, key=lambda p: (wanted[p] > ROUNDING, wanted_of[p].get(rarest, 0.0), wanted[p], _draw(seed, unit, p))
        )
        result.update(dict.fromkeys(unit.image_ids, part))
        wanted[part] -= len(unit.image_ids)
        for class_id, count in unit.counts.items():
            wanted_of[part][class_id] -= count
            totals[class_id] -= count
    return result


def _units(images: Sequence[LabelledImage], seed: int) -> list[Unit]:
    """Return the groups: larger ones first, for they are hardest to place, else in an order drawn from the seed."""
    members: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in sorted(images, key=lambda image: image.image_id):
        members[image.group].append(image)
    units = [
        Unit(group, tuple(i.image_id for i in found), Counter(c for i in found for c in i.class_ids))
        for group, found in members.items()
    ]
    return sorted(units, key=lambda unit: (-len(unit.image_ids), _draw(seed, unit, "")))


def _queues(units: Iterable[Unit]) -> dict[int | None, deque[str]]:
    """Return the groups that hold each class, in order; under None all groups."""
    queues: dict[int | None, deque[str]] = defaultdict(deque)
    for unit in units:
        queues[None].append(unit.group)
        for class_id in unit.counts:
            queues[class_id].append(unit.group)
    return queues


def _next_unit(waiting: dict[str, Unit], queue: deque[str]) -> Unit:
    """Take the first group of a queue that still waits."""
    while queue[0] not in waiting:
        queue.popleft()
    return waiting.pop(queue.popleft())


def _draw(seed: int, unit: Unit, part: str) -> str:
    """Return a pseudo-random text that depends on nothing but its arguments."""
    return hashlib.sha256(f"{seed}/{part}/{unit.group}".encode()).hexdigest()
