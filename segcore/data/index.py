"""The index of a run: every image read once, checked and hashed, given its one role; ground truth as label maps."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segcore.config.data_schema import RolesConfig
from segcore.config.schema import RunConfig
from segcore.data.ground_truth import PixelCount, ground_truth
from segcore.data.index_contents import contents_of
from segcore.data.label_maps import write_label_maps
from segcore.data.near_duplicates import group_labelled, group_name
from segcore.data.pool_duplicates import PoolVerdict, judge_pool, resembled_by, without_repeats
from segcore.data.problems import Problems
from segcore.data.roles import assign_roles, write_images, write_ledger
from segcore.data.scan import Failure, Scan, scan_images
from segcore.data.sources import Dataset, SourceImage, given_teacher_images, image_roots, label_files, load_dataset
from segcore.data.stratify import LabelledImage
from segcore.records import IGNORE_INDEX, ImageRecord, Quarantined, Role
from segcore.store.canonical import JSON, file_sha256
from segcore.store.hash_memo import HashMemo

__all__ = ["IndexSummary", "build_index", "image_roots", "index_inputs"]

GROUND_TRUTH_FILE = "ground_truth.arrow"
TEACHER_IMAGES_FILE = "teacher_images.json"


@dataclass(frozen=True)
class IndexSummary:
    """What an index found, as in its summary.json.

    num_images: by role. class_pixels: by role, ground-truth pixels per class id. ignored_pixels: by role.
    dropped: pool images that repeat another image and are no part of the run. barred: test images that resemble a
    labelled one: in the submission, not in the pool. quarantined: pool images that cannot be used.
    num_resembling_train: images held out for scoring that share a group with train, and so cannot score.
    """

    num_images: Mapping[str, int]
    class_names: tuple[str, ...]
    class_pixels: Mapping[str, tuple[int, ...]]
    ignored_pixels: Mapping[str, int]
    dropped: tuple[Quarantined, ...]
    barred: tuple[Quarantined, ...]
    quarantined: tuple[Quarantined, ...]
    num_resembling_train: int


def build_index(config: RunConfig, out_dir: Path) -> IndexSummary:
    """Read all data of a run and write its index into `out_dir`.

    Files: roles.parquet (the ledger), images.parquet, ground_truth.arrow (label maps of all labelled images),
    classes.json, summary.json, and teacher_images.json when a teacher is given. A bad labelled image is a DataError
    that lists all of them; a bad pool image is quarantined, unless no image of its source is usable.
    """
    dataset = load_dataset(config)
    labelled = scan_labelled(dataset, config)
    pool, failures = scan_pool(dataset, config)
    groups = groups_of(labelled)
    roles = assign_roles(to_divide(dataset, labelled, groups), config.roles, config.data.val is not None)
    verdict = judge_pool(labelled, groups, pool)
    verdict = without_repeats(verdict) if config.pool.drop_near_duplicates else verdict
    records = image_records(labelled, groups, roles, verdict)
    pixels = PixelCount(dataset.class_map.num_classes)
    fill = IGNORE_INDEX if config.data.unannotated == "ignore" else 0
    write_label_maps(out_dir / GROUND_TRUTH_FILE, ground_truth(dataset, fill, labelled, roles, pixels))
    write_ledger(out_dir / "roles.parquet", records)
    write_images(out_dir / "images.parquet", records)
    write_json(out_dir / "classes.json", asdict(dataset.class_map))
    if config.model.teacher is not None:
        write_json(out_dir / TEACHER_IMAGES_FILE, teacher_images(config, labelled, groups))
    summary = summarise(dataset, records, pixels, verdict, failures)
    write_json(out_dir / "summary.json", asdict(summary))
    return summary


def scan_labelled(dataset: Dataset, config: RunConfig) -> list[Scan]:
    """Scan the labelled images; DataError listing every one that is bad."""
    scans, failures = scan_images(dataset.images(labelled=True), config.data.max_megapixels)
    refuse("labelled images", failures)
    return scans


def scan_pool(dataset: Dataset, config: RunConfig) -> tuple[list[Scan], list[Failure]]:
    """Scan the images without labels; DataError when a source has no usable image, for then its folder is wrong."""
    scans, failures = scan_images(dataset.images(labelled=False), config.data.max_megapixels)
    usable = {scan.image.source for scan in scans}
    for source in sorted({failure.image.source for failure in failures} - usable):
        refuse(f"data.{source}: none of its images is usable", [f for f in failures if f.image.source == source])
    return scans, failures


def refuse(what: str, failures: Sequence[Failure]) -> None:
    """Raise a DataError listing `failures`, if there are any."""
    problems = Problems(what)
    problems.extend(failure.reason for failure in failures)
    problems.raise_if_any()


def groups_of(labelled: Sequence[Scan]) -> tuple[str, ...]:
    """Return the group of every labelled image."""
    return group_labelled(
        [scan.fingerprint for scan in labelled],
        [sequence_key(scan.image) for scan in labelled],
        [scan.sha256 for scan in labelled],
    )


def sequence_key(image: SourceImage) -> str | None:
    """Return what frames of one sequence have in common; a video_id counts within its own file only."""
    sequence = None if image.coco is None else image.coco.sequence
    if sequence is None or sequence.startswith("sequence:"):
        return sequence
    return f"{image.source}/{sequence}"


def to_divide(dataset: Dataset, labelled: Sequence[Scan], groups: Sequence[str]) -> list[LabelledImage]:
    """Return the labelled images as the division into roles looks at them."""
    class_ids = {category_id: class_id for class_id, category_id in enumerate(dataset.class_map.category_ids)}
    return [
        LabelledImage(
            scan.image.image_id,
            scan.image.source,
            group,
            frozenset(class_ids[a.category_id] for a in scan.image.annotations or () if a.category_id in class_ids),
        )
        for scan, group in zip(labelled, groups, strict=True)
    ]


def image_records(
    labelled: Sequence[Scan], groups: Sequence[str], roles: Mapping[str, Role], verdict: PoolVerdict
) -> list[ImageRecord]:
    """Return the records of all images of the run in order of image_id."""
    records = [record(s, group, roles[s.image.image_id]) for s, group in zip(labelled, groups, strict=True)]
    for scan in verdict.kept:
        role: Role = "test" if scan.image.source == "test" else "unlabeled"
        records.append(record(scan, verdict.groups[scan.image.image_id], role))
    return sorted(records, key=lambda item: item.image_id)


def record(scan: Scan, group: str, role: Role) -> ImageRecord:
    """Return the record of one image."""
    image, header = scan.image, scan.header
    return ImageRecord(
        image_id=image.image_id,
        source=image.source,
        file_name=image.file_name,
        sha256=scan.sha256,
        width=header.oriented_width,
        height=header.oriented_height,
        thumb_hash=scan.fingerprint.hash_hex,
        group=group,
        role=role,
    )


def teacher_images(config: RunConfig, labelled: Sequence[Scan], groups: Sequence[str]) -> list[list[str]]:
    """Return [sha256, group] of every image a given teacher was trained on, sorted.

    The group is that of the labelled image it is, or resembles; its own otherwise. A file that cannot be read is a
    DataError: without it no score would be honest.
    """
    scans, failures = scan_images(given_teacher_images(config), config.data.max_megapixels)
    refuse("model.teacher.trained_on", failures)
    resembled = resembled_by(labelled, scans)
    return sorted(
        [scan.sha256, groups[resembled[index]] if index in resembled else group_name(scan.sha256)]
        for index, scan in enumerate(scans)
    )


def summarise(
    dataset: Dataset,
    records: Sequence[ImageRecord],
    pixels: PixelCount,
    verdict: PoolVerdict,
    failures: Sequence[Failure],
) -> IndexSummary:
    """Return the summary of an index."""
    train_groups = {item.group for item in records if item.role == "train"}
    return IndexSummary(
        num_images=dict(sorted(Counter(item.role for item in records).items())),
        class_names=dataset.class_map.names,
        class_pixels=pixels.classes(),
        ignored_pixels=pixels.ignored(),
        dropped=verdict.dropped,
        barred=verdict.barred,
        quarantined=tuple(Quarantined(failure.image.image_id, failure.reason) for failure in failures),
        num_resembling_train=sum(
            item.group in train_groups for item in records if item.role in ("calib", "gate", "report")
        ),
    )


def write_json(path: Path, value: Any) -> None:
    """Write JSON that people can read; equal values give equal bytes."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    # file names that are no UTF-8 hold lone surrogates; written as \udcxx they are valid JSON
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def index_inputs(config: RunConfig, memo: HashMemo) -> JSON:
    """Return what the key of the index step holds: images and label files by content, and what divides them.

    Images: source to file name to [bytes, sha256], None for a file that cannot be read. pool.use_test, pool.max_images
    and roles.min_gate_images are absent: they change how an index is used, not what is in it. memo: of the run; files
    that it knows unchanged are not read.
    """
    data, dataset = config.data, load_dataset(config)
    images = [image for found in dataset.sources.values() for image in found] + list(given_teacher_images(config))
    contents: dict[str, dict[str, JSON]] = defaultdict(dict)
    for image, content in zip(images, contents_of(images, memo), strict=True):
        contents[image.source][image.file_name] = content
    return {
        "images": dict(contents),
        "label_files": {source: file_sha256(path) for source, path in label_files(data).items()},
        "classes": {
            "unannotated": data.unannotated,
            "background": data.background,
            "palette": {name: list(colour) for name, colour in data.palette.items()},
        },
        "roles": role_inputs(config.roles),
        "has_val": data.val is not None,
        "has_teacher": config.model.teacher is not None,
        "max_megapixels": data.max_megapixels,
    } | ({"drop_near_duplicates": True} if config.pool.drop_near_duplicates else {})


def role_inputs(roles: RolesConfig) -> JSON:
    """Return what decides the roles of images; outside of a cross-validation the same as before there were folds."""
    unasked = {"min_gate_images"} if roles.fold is not None else {"min_gate_images", "fold"}
    return roles.model_dump(mode="json", exclude=unasked)
