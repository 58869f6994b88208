"""`segloop run --check` for data: lists, headers and sizes, without decoding an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from segcore.config.schema import RunConfig
from segcore.data.problems import MAX_SHOWN
from segcore.data.roles import val_shares
from segcore.data.scan import Failure, in_threads, probe
from segcore.data.sources import Dataset, SourceImage, given_teacher_images, load_dataset
from segcore.errors import SegloopError

FEW_IMAGES_OF_A_CLASS = 5


@dataclass(frozen=True)
class Finding:
    """Something a user should know. severity: an "error" stops a run before it starts, a "warning" does not."""

    severity: Literal["error", "warning"]
    message: str


def check_data(config: RunConfig) -> list[Finding]:
    """Return what is wrong or doubtful with the data of a run, errors first; at most 20 messages of a kind.

    A bad labelled image is an error. A bad pool image is a warning, since it is only quarantined, unless its source has
    no usable image. Files that end early are found by the index step, which reads them whole.
    """
    try:
        dataset = load_dataset(config)
        teacher = given_teacher_images(config)
    except SegloopError as error:
        return [Finding("error", str(error))]
    cap = config.data.max_megapixels
    errors = [f.reason for f in failures([*dataset.images(labelled=True), *teacher], cap)]
    pool = dataset.images(labelled=False)
    bad_pool = failures(pool, cap)
    unusable = unusable_sources(pool, bad_pool)
    errors += [f"data.{source}: none of its images is usable, say {reason}" for source, reason in unusable.items()]
    errors += bad_division(config, dataset)
    warnings = [f"will be quarantined: {f.reason}" for f in bad_pool if f.image.source not in unusable]
    warnings += doubtful_classes(dataset)
    return [*findings("error", errors), *findings("warning", warnings)]


def failures(images: Sequence[SourceImage], max_megapixels: float) -> list[Failure]:
    """Return the images whose path, header or size is wrong."""
    found = in_threads(lambda image: probe(image, max_megapixels), images)
    return [failure for failure in found if failure is not None]


def findings(severity: Literal["error", "warning"], messages: Sequence[str]) -> list[Finding]:
    """Return messages as findings, the last one saying how many more there are."""
    shown = [Finding(severity, message) for message in messages[:MAX_SHOWN]]
    if len(messages) > MAX_SHOWN:
        shown.append(Finding(severity, f"… and {len(messages) - MAX_SHOWN} more {severity}s of this kind"))
    return shown


def unusable_sources(pool: Sequence[SourceImage], bad: Sequence[Failure]) -> dict[str, str]:
    """Return the sources without labels in which no image is usable, each with the first reason."""
    listed = Counter(image.source for image in pool)
    failed = Counter(failure.image.source for failure in bad)
    first = {failure.image.source: failure.reason for failure in reversed(bad)}
    return {source: first[source] for source, count in listed.items() if failed[source] == count}


def bad_division(config: RunConfig, dataset: Dataset) -> Iterator[str]:
    """Yield what is wrong with roles: shares that exceed 1, or too few images to score with."""
    num_labelled = len(dataset.sources.get("val", dataset.sources["train"]))
    share = 1.0 if "val" in dataset.sources else config.roles.val_share
    try:
        gate = val_shares(config.roles, round(share * num_labelled))["gate"]
    except SegloopError as error:
        yield str(error)
        return
    expected, minimum = round(gate * share * num_labelled), config.roles.min_gate_images
    if expected < minimum:
        yield (
            f"the gate would get about {expected} images, roles.min_gate_images asks for {minimum}; add validation "
            "images, raise roles.gate_share (or roles.val_share without val), or lower roles.min_gate_images"
        )


def doubtful_classes(dataset: Dataset) -> Iterator[str]:
    """Yield a warning for every class that few images of train or val show."""
    names = {category.id: category.name for category in dataset.categories if not category.ignore}
    for source in ("train", "val"):
        images = dataset.sources.get(source, ())
        seen = Counter(c for image in images for c in {a.category_id for a in image.annotations or ()})
        for category_id, name in names.items():
            if images and seen[category_id] < FEW_IMAGES_OF_A_CLASS:
                yield f"class {name!r} is in {seen[category_id]} of the {len(images)} {source} images"
