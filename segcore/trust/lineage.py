"""Which images a checkpoint has learnt from, itself or through its teachers, and which may therefore not score it.

The field's well-known trap is val images in training: val mIoU jumps, the hidden test does not move. So a checkpoint
carries the images of its whole ancestry, as GT or pseudo-label, and an image that is among them, or whose group (its
near-duplicates) is, cannot score it. No flag turns this off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segcore.errors import CheckpointError, HonestScoreError
from segcore.records import ImageRecord

FORMAT = 1
Via = Literal["gt", "pseudo"]


@dataclass(frozen=True, order=True)
class SeenImage:
    """An image some ancestor was trained on. group: "" when it has none; via: with GT or with a pseudo-label."""

    sha256: str
    group: str
    via: Via


@dataclass(frozen=True)
class Lineage:
    """Every image a checkpoint has learnt from. ancestors: digests of the checkpoints before it, oldest first."""

    images: frozenset[SeenImage] = frozenset()
    ancestors: tuple[str, ...] = ()

    def write(self, path: Path) -> None:
        """Write as JSON; equal lineages give equal bytes."""
        images = [[image.sha256, image.group, image.via] for image in sorted(self.images)]
        content = {"ancestors": list(self.ancestors), "format": FORMAT, "images": images}
        path.write_text(json.dumps(content, sort_keys=True, separators=(",", ":")), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Lineage:
        """Read what write wrote. Raises CheckpointError: without its lineage no score of a checkpoint is honest."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}")
            images = frozenset(_seen(*row) for row in content["images"])
            return cls(images, tuple(str(digest) for digest in content["ancestors"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path} must be a lineage file of format {FORMAT}, cannot read it: {error!r}; "
                "without it no score of this checkpoint is honest, train the round again"
            ) from error


def extend(
    parent: Lineage | None,
    gt: Iterable[ImageRecord],
    pseudo: Iterable[ImageRecord],
    parent_digest: str | None = None,
) -> Lineage:
    """Return the lineage of a student.

    parent: lineage of its teacher, None in round 0. gt, pseudo: the images in its own training set, by their labels.
    parent_digest: sha256 of the teacher's weights. Initial weights other than the teacher's: see merge.
    """
    base = parent if parent is not None else Lineage()
    own = {SeenImage(image.sha256, image.group, "gt") for image in gt}
    own |= {SeenImage(image.sha256, image.group, "pseudo") for image in pseudo}
    ancestors = base.ancestors if parent_digest is None else _append(base.ancestors, parent_digest)
    return Lineage(base.images | own, ancestors)


def merge(first: Lineage, second: Lineage) -> Lineage:
    """Return the lineage of a checkpoint that learnt from both, say a teacher and other initial weights."""
    ancestors = first.ancestors
    for digest in second.ancestors:
        ancestors = _append(ancestors, digest)
    return Lineage(first.images | second.images, ancestors)


def honest_images(
    images: Sequence[ImageRecord], lineage: Lineage
) -> tuple[tuple[ImageRecord, ...], tuple[ImageRecord, ...]]:
    """Divide images into those that may score this lineage and those that may not, each in the given order.

    An image is excluded when its content (sha256) or its group is in the lineage, whichever way it came in.
    """
    seen = {image.sha256 for image in lineage.images}
    groups = {image.group for image in lineage.images} - {""}
    excluded = tuple(image for image in images if image.sha256 in seen or image.group in groups)
    out = {image.image_id for image in excluded}
    return tuple(image for image in images if image.image_id not in out), excluded


def require_honest(kept: Sequence[ImageRecord], excluded: Sequence[ImageRecord], minimum: int) -> None:
    """Raise HonestScoreError when fewer than minimum images are left to score with (roles.min_gate_images)."""
    if len(kept) >= minimum:
        return
    shown = ", ".join(image.image_id for image in excluded[:3]) or "none"
    raise HonestScoreError(
        f"scoring needs at least {minimum} images this lineage has not seen (roles.min_gate_images), got {len(kept)}: "
        f"{len(excluded)} of {len(kept) + len(excluded)} are, or look like, images it was trained on (first: {shown}); "
        "take them out of train and the pool, or give val images of other scenes"
    )


def _seen(sha256: str, group: str, via: str) -> SeenImage:
    if via == "gt" or via == "pseudo":
        return SeenImage(str(sha256), str(group), "gt" if via == "gt" else "pseudo")
    raise ValueError(f"via must be 'gt' or 'pseudo', got {via!r}")


def _append(ancestors: tuple[str, ...], digest: str) -> tuple[str, ...]:
    return ancestors if digest in ancestors else (*ancestors, digest)
