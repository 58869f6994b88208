"""Which images of a labelled set may score a model: those that neither it nor its ancestors have seen, nor copies."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segcore.config.data_schema import ImageList
from segcore.data.near_duplicates import find_duplicates, group_name
from segcore.data.scan import Scan, scan_images
from segcore.data.sources import SourceImage, given_teacher_images, image_roots, listed_images
from segcore.errors import ConfigError, HonestScoreError
from segcore.records import ImageRecord
from segcore.steps.finished import published_index
from segcore.steps.index import images_of
from segcore.steps.model_files import ModelFiles
from segcore.steps.run import Run
from segcore.trust.lineage import Lineage, SeenImage, honest_images, merge, require_honest

logger = logging.getLogger(__name__)

NO_CAP = float("inf")


@dataclass(frozen=True)
class Provenance:
    """What the user says of a model's training images.

    trained_on: image folders, or "list.json:folder" with a COCO file. foreign_unseen: the user states that the model
    has seen none of the scored images, nor copies of them.
    """

    trained_on: tuple[str, ...] = ()
    foreign_unseen: bool = False


@dataclass(frozen=True)
class HonestSet:
    """Scored images by file name, and those left out. num_unchecked: training images whose copies nobody looked for.

    stated: it rests on the user's word that these copies are not in the set.
    """

    kept: tuple[str, ...]
    excluded: tuple[str, ...]
    num_lineage: int
    num_unchecked: int
    stated: bool


@dataclass(frozen=True)
class Seen:
    """Everything known to be in a model's lineage. scans: those of its images whose files could be read."""

    lineage: Lineage
    scans: tuple[Scan, ...]

    @property
    def groups(self) -> dict[str, str]:
        """Return the group of each seen image by sha256; its own where the lineage names none."""
        return {image.sha256: image.group or group_name(image.sha256) for image in self.lineage.images}

    @property
    def num_unchecked(self) -> int:
        """Return how many images were seen whose files were not found, so that copies cannot be recognised."""
        return len({image.sha256 for image in self.lineage.images} - {scan.sha256 for scan in self.scans})


def honest_set(scans: Sequence[Scan], model: ModelFiles, provenance: Provenance, minimum: int) -> HonestSet:
    """Divide labelled images into those that may score the model and those that may not.

    HonestScoreError when fewer than minimum are left, or when nothing tells what the model was trained on.
    """
    refuse_untold(model, provenance)
    seen = what_was_seen(model, provenance)
    refuse_unchecked(model, provenance, seen)
    kept, excluded = honest_images(records_of(scans, model, seen), seen.lineage)
    require_honest(kept, excluded, minimum)
    return HonestSet(
        kept=tuple(image.file_name for image in kept),
        excluded=tuple(image.file_name for image in excluded),
        num_lineage=len(seen.lineage.images),
        num_unchecked=seen.num_unchecked,
        stated=provenance.foreign_unseen,
    )


def what_was_seen(model: ModelFiles, provenance: Provenance) -> Seen:
    """Return the lineage of a model: from its file, and from the folders that the user names."""
    own = Lineage() if model.lineage is None else Lineage.read(model.lineage)
    scans = [] if model.run is None else scan_lineage(model.run, own)
    named = [scan for text in provenance.trained_on for scan in scan_readable(listed_images("", image_list(text)))]
    known = {image.sha256 for image in own.images}
    new = {SeenImage(s.sha256, group_name(s.sha256), "gt") for s in named if s.sha256 not in known}
    return Seen(merge(own, Lineage(frozenset(new))), (*scans, *named))


def scan_lineage(run: Run, lineage: Lineage) -> list[Scan]:
    """Read the images of a lineage from the folders of its run, as far as they are still there and unchanged."""
    seen = {image.sha256 for image in lineage.images}
    images = [image for image in images_of(run, published_index(run)) if image.sha256 in seen]
    roots = image_roots(run.config)
    named = [SourceImage(image.source, image.file_name, roots[image.source], None) for image in images]
    scans = scan_readable((*named, *given_teacher_images(run.config)))
    return [scan for scan in scans if scan.sha256 in seen]


def scan_readable(images: Sequence[SourceImage]) -> list[Scan]:
    """Scan images; those that cannot be read are left out and counted as unchecked later."""
    scans, failures = scan_images(images, NO_CAP)
    for failure in failures:
        logger.warning("%s", failure.reason)
    return scans


def image_list(text: str) -> ImageList:
    """Return what a --trained-on means: a folder, or a COCO file and a folder with a colon between."""
    folder = Path(text)
    if folder.is_dir():
        return ImageList(images=folder, annotations=None)
    listed, colon, folder_text = text.rpartition(":")
    if not colon or not Path(listed).is_file() or not Path(folder_text).is_dir():
        raise ConfigError(f"--trained-on must be an image folder, or COCO_FILE:FOLDER, got {text!r}; check the paths")
    return ImageList(images=Path(folder_text), annotations=Path(listed))


def refuse_untold(model: ModelFiles, provenance: Provenance) -> None:
    """Raise HonestScoreError when neither a lineage file nor the user tells what the model was trained on."""
    if model.lineage is None and not provenance.trained_on and not provenance.foreign_unseen:
        raise HonestScoreError(
            f"{model.checkpoint}: a score needs to know what the model was trained on, and there is no lineage.json "
            "beside it; name its images by --trained-on DIR, or state by --foreign-unseen that it has seen none of "
            "these images"
        )


def refuse_unchecked(model: ModelFiles, provenance: Provenance, seen: Seen) -> None:
    """Raise HonestScoreError when copies of training images could be in the set, unrecognised."""
    if seen.num_unchecked and not provenance.foreign_unseen:
        raise HonestScoreError(
            f"{model.checkpoint}: copies of {seen.num_unchecked} of its {len(seen.lineage.images)} training images "
            "cannot be recognised, since these images are not where the run has them; name their folder by "
            "--trained-on DIR, or state by --foreign-unseen that no copy of them is in this set"
        )


def records_of(scans: Sequence[Scan], model: ModelFiles, seen: Seen) -> list[ImageRecord]:
    """Return the scanned images with their group: of the seen image they resemble, else of the run's index."""
    indexed = {} if model.run is None else {i.sha256: i.group for i in images_of(model.run, published_index(model.run))}
    groups = seen.groups
    resembled: dict[int, str] = {}
    pairs = find_duplicates([scan.fingerprint for scan in scans], [scan.fingerprint for scan in seen.scans])
    for own, other in pairs:
        resembled.setdefault(own, groups[seen.scans[other].sha256])
    return [
        record(scan, resembled.get(index) or indexed.get(scan.sha256) or group_name(scan.sha256))
        for index, scan in enumerate(scans)
    ]


def record(scan: Scan, group: str) -> ImageRecord:
    """Return a scanned image as a record of the scored set."""
    header, name = scan.header, scan.image.file_name
    return ImageRecord(
        name, scan.image.source, name, scan.sha256, header.oriented_width, header.oriented_height,
        scan.fingerprint.hash_hex, group, "report",
    )  # fmt: skip
