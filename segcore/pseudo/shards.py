"""Which images are labelled together: a shard is the unit of labelling, caching, retry and progress.

An image's shard follows from its id alone, so that adding images relabels only the shards they fall into.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable

from segcore.errors import DataError


def shard_of(image_id: str, num_shards: int) -> int:
    """Return the shard of an image: sha256 of its id, modulo num_shards."""
    digest = hashlib.sha256(image_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") % num_shards


def num_shards_for(num_images: int, images_per_shard: int) -> int:
    """Return the power of two whose shards hold nearest to images_per_shard images, at least 1.

    A power of two, so that a pool that grows a little keeps its shards.
    """
    return 1 << max(0, round(math.log2(max(1, num_images) / images_per_shard)))


def plan_shards(image_ids: Iterable[str], num_shards: int) -> dict[int, tuple[str, ...]]:
    """Return the images of each shard that has any, both in ascending order, whatever the order of image_ids."""
    shards: defaultdict[int, list[str]] = defaultdict(list)
    for image_id in image_ids:
        shards[shard_of(image_id, num_shards)].append(image_id)
    for members in shards.values():
        members.sort()
        for first, second in itertools.pairwise(members):
            if first == second:
                raise DataError(f"image ids must be unique in a run, got {first!r} twice; index the data again")
    return {shard: tuple(shards[shard]) for shard in sorted(shards)}
