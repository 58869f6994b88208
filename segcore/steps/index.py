"""The index step: every image read once, hashed, given its one role; ground truth painted to label maps."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from segcore.data.index import build_index, image_roots, index_inputs
from segcore.data.label_maps import LabelMaps, encode_png
from segcore.data.roles import pool_images, read_images
from segcore.errors import RunChangedError
from segcore.records import LABELLED_ROLES, POOL_ROLES, ClassMap, ImageRecord, Role, StepOutput
from segcore.steps.run import Run, ensure_step
from segcore.store.canonical import digest_of
from segcore.store.hash_memo import memo_of
from segcore.store.layout import index_place
from segcore.store.publish import published_candidates
from segcore.store.steps import Step, difference

logger = logging.getLogger(__name__)

VERSION = 1
GROUND_TRUTH = "ground_truth.arrow"
MAX_CHANGED = 5  # named in one error


@dataclass(frozen=True)
class Index:
    """The published index of a run.

    digests: per role, hash of its images and, where there are any, their label maps. num_images: per role.
    """

    output: StepOutput
    digests: dict[str, str]
    num_images: dict[str, int]


def index_step(run: Run) -> Step:
    """Return the index step of a run; looks at every image file and hashes those that are new or changed."""
    return Step("index", VERSION, index_place(), index_inputs(run.config, memo_of(run.path)))


def index_images(run: Run) -> Index:
    """Build or reuse the index. RunChangedError when the data changed under a run that was not told to update."""
    step = index_step(run)
    refuse_changed_data(run, step)
    published = ensure_step(run, step, lambda work: build(run, work))
    value: Any = published.value
    index = Index(published.output(run.path), value["digests"], value["num_images"])
    if not published.reused:
        logger.info("index: %s", ", ".join(f"{count} {role}" for role, count in index.num_images.items()))
    return index


def refuse_changed_data(run: Run, step: Step) -> None:
    """Raise RunChangedError when an index of other data is there and the run may not be updated."""
    if run.update or run.layout.step_dir(step).exists():
        return
    others = published_candidates(run.path, step.place)
    if not others:
        return
    changed = difference(step, others[-1][1].inputs) or ("the way the index is made",)
    more = f" and {len(changed) - MAX_CHANGED} more" if len(changed) > MAX_CHANGED else ""
    fields = ", ".join(changed[:MAX_CHANGED]) + more
    raise RunChangedError(
        f"{run.folder}: images, labels or roles are not those the run was started with (changed: {fields}); "
        "undo the change, use another run_id, or pass --update to redo what depends on it (--plan shows what)"
    )


def build(run: Run, work: Path) -> dict[str, Any]:
    """Write the index files; return counts, and one digest per role so that unchanged roles keep their keys."""
    summary = build_index(run.config, work)
    images = read_images(work / "images.parquet")
    maps = LabelMaps(work / GROUND_TRUTH)
    digests = {role: role_digest(images, role, maps) for role in (*LABELLED_ROLES, *POOL_ROLES)}
    maps.close()
    counts = Counter(image.role for image in images)
    for item in summary.quarantined:
        logger.warning("quarantined %s: %s", item.image_id, item.reason)
    return {
        "digests": digests,
        "num_images": {role: counts[role] for role in (*LABELLED_ROLES, *POOL_ROLES) if counts[role]},
        "num_dropped": len(summary.dropped),
        "num_quarantined": len(summary.quarantined),
    }


def role_digest(images: Iterable[ImageRecord], role: Role, maps: LabelMaps) -> str:
    """Return a hash of the images of a role by content, with their label maps."""
    rows = [
        [image.image_id, image.sha256, image.group, digest_of(encode_png(maps[image.image_id]).hex())]
        if image.image_id in maps
        else [image.image_id, image.sha256, image.group]
        for image in images
        if image.role == role
    ]
    return digest_of(sorted(rows))


def index_path(run: Run, index: Index) -> Path:
    """Return the folder of the published index."""
    return run.path / index.output.path


def images_of(run: Run, index: Index, *roles: Role) -> tuple[ImageRecord, ...]:
    """Return the images of the given roles, in the order of the ledger; without roles, all."""
    images = cached_images(str(index_path(run, index)))
    return tuple(image for image in images if not roles or image.role in roles)


@lru_cache(maxsize=4)
def cached_images(folder: str) -> tuple[ImageRecord, ...]:
    """Return the images of a published index, which never changes."""
    return read_images(Path(folder) / "images.parquet")


def pool_of(run: Run, index: Index) -> tuple[ImageRecord, ...]:
    """Return the images that get pseudo-labels."""
    return pool_images(images_of(run, index), run.config.pool)


def class_map_of(run: Run, index: Index) -> ClassMap:
    """Return the classes of the run."""
    raw = json.loads((index_path(run, index) / "classes.json").read_text(encoding="utf-8"))
    return ClassMap(
        names=tuple(raw["names"]),
        palette=tuple((int(r), int(g), int(b)) for r, g, b in raw["palette"]),
        category_ids=tuple(raw["category_ids"]),
    )


def ground_truth_path(run: Run, index: Index) -> Path:
    """Return the LabelMaps file with the ground truth of every labelled image."""
    return index_path(run, index) / GROUND_TRUTH


def image_path(run: Run, image: ImageRecord) -> Path:
    """Return where an image lies; images stay in the user's folders."""
    return image_roots(run.config)[image.source] / image.file_name


def summary_of(run: Run, index: Index) -> dict[str, Any]:
    """Return the index's summary.json: counts, class shares, dropped and quarantined images."""
    summary: dict[str, Any] = json.loads((index_path(run, index) / "summary.json").read_text(encoding="utf-8"))
    return summary
