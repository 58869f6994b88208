"""Roles: what each image may be used for, decided once and written to the ledger before round 0."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from segcore.config.data_schema import FoldConfig, PoolConfig, RolesConfig
from segcore.data.stratify import LabelledImage, stratify
from segcore.errors import ConfigError, DataError
from segcore.records import LABELLED_ROLES, ImageRecord, Role

SMALL_VAL_IMAGES = 150
SMALL_VAL_GATE_SHARE = 0.7  # the gate decides, calib only helps: where images are few the gate gets more
GATE_SHARE = 0.5
LEDGER_FIELDS = ("image_id", "source", "file_name", "sha256", "role", "group")
TEXT_FIELDS = tuple(field.name for field in dataclasses.fields(ImageRecord) if field.name not in ("width", "height"))


def assign_roles(images: Sequence[LabelledImage], config: RolesConfig, has_val: bool) -> dict[str, Role]:
    """Return the role of every labelled image by image_id.

    Source "test" (labelled afterwards) is report. With val, "train" is train and "val" is divided into calib, gate
    and, by report_share, report. Without, those parts are split off train: val_share of it. Divisions are stratified
    by class, keep groups on one side, and depend on roles.seed and the set of images alone. A val image that
    resembles a train image keeps its role: lineage excludes it from scoring. In a chain of a cross-validation
    (roles.fold) train and val are one: the fold is report, the others are divided as train is without val.
    """
    if config.fold is not None:
        return fold_roles(images, config, config.fold)
    by_source = {source: [image for image in images if image.source == source] for source in ("train", "val", "test")}
    roles: dict[str, Role] = {image.image_id: "report" for image in by_source["test"]}
    if has_val:
        roles |= {image.image_id: "train" for image in by_source["train"]}
        divided, shares = by_source["val"], val_shares(config, len(by_source["val"]))
    else:
        divided = by_source["train"]
        shares = train_shares(config, len(divided))
    parts = stratify(divided, shares, config.seed)
    _require_parts(set(parts.values()), shares, len(divided), has_val)
    return roles | {image_id: cast(Role, part) for image_id, part in parts.items()}


def fold_roles(images: Sequence[LabelledImage], config: RolesConfig, fold: FoldConfig) -> dict[str, Role]:
    """Return the roles of one chain of a cross-validation by image_id: report for its fold, which nothing else sees."""
    folds = folds_of(images, fold.of, config.seed)
    kept_out = [image for image in images if folds[image.image_id] == fold.index]
    others = [image for image in images if folds[image.image_id] != fold.index]
    if len(kept_out) < config.min_gate_images:
        raise DataError(
            f"roles.fold: fold {fold.index} of {fold.of} must have at least {config.min_gate_images} images to be "
            f"scored (roles.min_gate_images), and has {len(kept_out)} of {len(images)} labelled ones; take fewer folds"
        )
    shares = train_shares(config.model_copy(update={"report_share": 0.0}), len(others))
    parts = stratify(others, shares, config.seed)
    _require_parts(set(parts.values()), shares, len(others), has_val=False)
    num_gate = list(parts.values()).count("gate")
    if num_gate < config.min_gate_images:
        raise DataError(
            f"roles.fold: the gate of fold {fold.index} must have at least {config.min_gate_images} images "
            f"(roles.min_gate_images), and has {num_gate} of {len(others)}; raise roles.val_share"
        )
    roles: dict[str, Role] = {image.image_id: "report" for image in kept_out}
    return roles | {image_id: cast(Role, part) for image_id, part in parts.items()}


def folds_of(images: Sequence[LabelledImage], num_folds: int, seed: int) -> dict[str, int]:
    """Return the fold of every labelled image by image_id: stratified by class, groups whole, equal in all chains."""
    parts = stratify(images, {f"{fold:03d}": 1.0 / num_folds for fold in range(num_folds)}, seed)
    return {image_id: int(part) for image_id, part in parts.items()}


def train_shares(config: RolesConfig, num_images: int) -> dict[str, float]:
    """Return the shares of train, and of what is split off it where there is no val; they sum to 1, none is 0."""
    held_out = val_shares(config, round(config.val_share * num_images))
    shares = {"train": 1.0 - config.val_share}
    return shares | {role: share * config.val_share for role, share in held_out.items()}


def val_shares(config: RolesConfig, num_val: int) -> dict[str, float]:
    """Return the shares of `num_val` validation images for gate, calib and report; they sum to 1, none is 0."""
    report = config.report_share
    default = SMALL_VAL_GATE_SHARE if num_val < SMALL_VAL_IMAGES else GATE_SHARE
    gate = default * (1.0 - report) if config.gate_share is None else config.gate_share
    calib = 1.0 - report - gate
    if calib < -1e-9 or gate <= 0:
        raise ConfigError(
            f"roles.gate_share must be above 0 and, with roles.report_share, at most 1; got {gate:g} and {report:g}"
        )
    shares = {"gate": gate, "calib": calib, "report": report}
    return {role: share for role, share in shares.items() if share > 1e-9}


def _require_parts(found: set[str], shares: dict[str, float], num_images: int, has_val: bool) -> None:
    for part in ("train", "gate"):
        if part in shares and part not in found:
            where = "data.val" if has_val else "data.train, from which val is split off"
            raise DataError(
                f"{where}: {num_images} images, or groups of similar ones, are too few for the role {part}; "
                "add images, or change roles.val_share and roles.gate_share"
            )


def pool_images(images: Iterable[ImageRecord], config: PoolConfig) -> tuple[ImageRecord, ...]:
    """Return the images that are pseudo-labelled, in the given order: unlabeled, test if use_test, max_images at most.

    A test image that is a near-duplicate of a labelled one stays in the submission but is no part of the pool: training
    on it would disqualify the image it resembles from scoring.
    """
    images = tuple(images)
    labelled_groups = {image.group for image in images if image.role in LABELLED_ROLES}
    roles = ("unlabeled", "test") if config.use_test else ("unlabeled",)
    pool = [image for image in images if image.role in roles and image.group not in labelled_groups]
    chosen = chosen_ids([image.image_id for image in pool], config.max_images)
    return tuple(image for image in pool if image.image_id in chosen)


def chosen_ids(image_ids: Sequence[str], max_images: int | None) -> frozenset[str]:
    """Return the images of a pool that is capped: those whose ids have the smallest hashes.

    A choice at random that stays: of a pool that grows, as many go as come in.
    """
    if max_images is None or len(image_ids) <= max_images:
        return frozenset(image_ids)
    return frozenset(sorted(image_ids, key=lambda name: hashlib.sha256(f"pool {name}".encode()).digest())[:max_images])


def write_ledger(path: Path, images: Sequence[ImageRecord]) -> None:
    """Write the ledger roles.parquet: image_id, source, file_name, sha256, role, group; one row an image."""
    pq.write_table(_table(images).select(list(LEDGER_FIELDS)), path, compression="zstd")


def write_images(path: Path, images: Sequence[ImageRecord]) -> None:
    """Write images.parquet: every field of ImageRecord, one row an image, in the given order."""
    pq.write_table(_table(images), path, compression="zstd")


def read_images(path: Path) -> tuple[ImageRecord, ...]:
    """Read what write_images wrote."""
    try:
        with pq.ParquetFile(path) as file:  # read_table would import much more first
            table = file.read()
        names = [field.name for field in dataclasses.fields(ImageRecord)]
        images = tuple(itertools.starmap(ImageRecord, zip(*(table[name].to_pylist() for name in names), strict=True)))
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise DataError(f"{path}: expected the images of an index step, cannot be read ({error})") from error
    unknown = sorted({image.role for image in images} - set(get_args(Role)))
    if unknown:
        raise DataError(f"{path}: roles must be {', '.join(get_args(Role))}, got {unknown[0]!r}")
    return images


def _table(images: Sequence[ImageRecord]) -> pa.Table:
    columns = {
        field.name: pa.array(
            [getattr(image, field.name) for image in images], pa.string() if field.name in TEXT_FIELDS else pa.int32()
        )
        for field in dataclasses.fields(ImageRecord)
    }
    return pa.table(columns)
