"""Pool images that repeat another image: what is left out of a run, and what of the pool only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segcore.data.near_duplicates import find_duplicates, find_repeats, group_name
from segcore.data.scan import Scan
from segcore.records import Quarantined


@dataclass(frozen=True, eq=False)
class PoolVerdict:
    """What became of the images without labels.

    kept: part of the run; groups: their group by image_id. dropped: not part of the run. barred: test images kept for
    the submission, but in the group of the labelled image they resemble, so that the pool leaves them out.
    """

    kept: tuple[Scan, ...]
    groups: Mapping[str, str]
    dropped: tuple[Quarantined, ...]
    barred: tuple[Quarantined, ...]


def judge_pool(labelled: Sequence[Scan], labelled_groups: Sequence[str], pool: Sequence[Scan]) -> PoolVerdict:
    """Decide on every image without labels, test before unlabeled, each in the given order.

    An unlabeled image that resembles a labelled one, or has the content of an earlier pool image, is dropped: were it
    trained on, the labelled one could no longer score. Groups of the others are named by their own content.
    """
    resembled = resembled_by(labelled, pool)
    first_with: dict[str, str] = {}
    kept, groups = [], {}
    dropped: list[Quarantined] = []
    barred: list[Quarantined] = []
    for index in sorted(range(len(pool)), key=lambda i: (pool[i].image.source != "test", i)):
        scan, is_test = pool[index], pool[index].image.source == "test"
        image_id = scan.image.image_id
        earlier = first_with.setdefault(scan.sha256, image_id)
        group = group_name(scan.sha256)
        if index in resembled:
            original = labelled[resembled[index]].image.image_id
            reason = f"near-duplicate of the labelled image {original}"
            (barred if is_test else dropped).append(Quarantined(image_id, reason))
            group = labelled_groups[resembled[index]]
        elif earlier != image_id and not is_test:
            dropped.append(Quarantined(image_id, f"same content as {earlier}"))
            continue
        if is_test or index not in resembled:
            kept.append(scan)
            groups[image_id] = group
    return PoolVerdict(tuple(kept), groups, tuple(dropped), tuple(barred))


def without_repeats(verdict: PoolVerdict) -> PoolVerdict:
    """Drop unlabelled images that are near-duplicates of an earlier pool image that stays; test images all stay."""
    kept = verdict.kept
    repeats = find_repeats([scan.fingerprint for scan in kept])
    out = {index: original for index, original in repeats.items() if kept[index].image.source != "test"}
    dropped = [
        Quarantined(kept[index].image.image_id, f"near-duplicate of the pool image {kept[original].image.image_id}")
        for index, original in out.items()
    ]
    left = tuple(scan for index, scan in enumerate(kept) if index not in out)
    groups = {scan.image.image_id: verdict.groups[scan.image.image_id] for scan in left}
    return PoolVerdict(left, groups, (*verdict.dropped, *dropped), verdict.barred)


def resembled_by(labelled: Sequence[Scan], others: Sequence[Scan]) -> dict[int, int]:
    """Return, for the index of each other image that repeats a labelled one, the index of the first such."""
    by_content = {scan.sha256: index for index, scan in reversed(list(enumerate(labelled)))}
    found = {j: by_content[scan.sha256] for j, scan in enumerate(others) if scan.sha256 in by_content}
    for i, j in find_duplicates([scan.fingerprint for scan in labelled], [scan.fingerprint for scan in others]):
        found.setdefault(j, i)
    return found
