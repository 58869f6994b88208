"""A pool that grew, before it is indexed anew: which shards its new images fall into, and what stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segcore.data.roles import chosen_ids, pool_images
from segcore.pseudo.shards import num_shards_for, shard_of
from segcore.records import StepOutput
from segcore.steps.index import Index, images_of
from segcore.steps.run import Run
from segcore.store.canonical import JSON, plain
from segcore.store.layout import index_place
from segcore.store.publish import published_candidates
from segcore.store.steps import Step, differing


@dataclass(frozen=True)
class Growth:
    """Pool images came, went or changed, and nothing else: every labelled image keeps its role and its group.

    index: of the data before. came, went: image ids; one with other content did both.
    """

    index: Index
    came: frozenset[str]
    went: frozenset[str]


@dataclass(frozen=True)
class Relabelled:
    """Shards that a grown pool has labelled again. num_images: in them, at most, for the index may drop copies."""

    shards: tuple[int, ...]
    num_shards: int
    num_images: int


def growth_of(run: Run, step: Step) -> Growth | None:
    """Return how the pool differs from the published index that is nearest; None when more than that differs."""
    found = []
    for folder, manifest in published_candidates(run.path, index_place()):
        changed = changed_pool(step.inputs, manifest.inputs)
        if changed is not None:
            value: Any = manifest.value
            output = StepOutput(manifest.kind, run.layout.relative(folder), manifest.key, manifest.digest, reused=True)
            found.append(Growth(Index(output, value["digests"], value["num_images"]), *changed))
    return min(found, key=lambda growth: len(growth.came | growth.went), default=None)


def changed_pool(new_inputs: JSON, old_inputs: JSON) -> tuple[frozenset[str], frozenset[str]] | None:
    """Return the pool images that came and that went between two indices; None when anything else differs."""
    (new_rest, now), (old_rest, before) = divided(plain(new_inputs)), divided(plain(old_inputs))
    if differing(new_rest, old_rest, ""):
        return None
    came = frozenset(image_id for image_id, content in now.items() if before.get(image_id) != content)
    went = frozenset(image_id for image_id, content in before.items() if now.get(image_id) != content)
    return came, went


def divided(inputs: dict[str, JSON]) -> tuple[JSON, dict[str, str]]:
    """Return an index's inputs without what they say of the pool, and the content of every pool image by image_id."""
    images, lists = inputs["images"], inputs["label_files"]
    sources = {
        name for name in images if name.startswith("unlabeled_") or (name == "test" and "test_labels" not in lists)
    }
    rest = {
        **inputs,
        "images": {name: found for name, found in images.items() if name not in sources},
        "label_files": {name: found for name, found in lists.items() if name not in sources},
    }
    pool = {f"{name}/{file}": repr(content) for name in sources for file, content in images[name].items()}
    return rest, pool


def relabelled(run: Run, growth: Growth) -> Relabelled:
    """Return which shards of a labelling before the end are labelled again by a teacher that stayed the same."""
    label = run.config.label
    before, now = labelled_ids(run, growth, grown=False), labelled_ids(run, growth, grown=True)
    old_num, num_shards = (
        label.num_shards or num_shards_for(len(ids), label.images_per_shard) for ids in (before, now)
    )
    changed = (before ^ now) | (growth.came & growth.went)
    touched = now if old_num != num_shards else changed  # a pool that outgrew its shards is cut anew
    shards = {shard_of(image_id, num_shards) for image_id in now} & {shard_of(name, num_shards) for name in touched}
    num_images = sum(shard_of(image_id, num_shards) in shards for image_id in now)
    return Relabelled(tuple(sorted(shards)), num_shards, num_images)


def labelled_ids(run: Run, growth: Growth, grown: bool) -> frozenset[str]:
    """Return which images are labelled in a round, before or after the pool grew, as far as their ids tell."""
    images, config = images_of(run, growth.index), run.config.pool
    calib = {image.image_id for image in images if image.role == "calib"}
    pool = {image.image_id for image in pool_images(images, config.model_copy(update={"max_images": None}))}
    if grown:
        pool -= growth.went
        pool |= {image_id for image_id in growth.came if config.use_test or not image_id.startswith("test/")}
    return chosen_ids(sorted(pool), config.max_images) | calib
