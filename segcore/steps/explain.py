"""What became of one image in a run: its role, its pseudo-labels round by round, and who learnt from it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.data.label_maps import LabelMaps
from segcore.errors import DataError
from segcore.outputs.report_text import iou, percent
from segcore.pseudo.build import LABEL_MAPS, THRESHOLDS
from segcore.pseudo.confidence import LEVEL_EDGES
from segcore.pseudo.predictions import read_agreements
from segcore.pseudo.stored import StoredPredictions
from segcore.pseudo.thresholds import Thresholds
from segcore.records import IGNORE_INDEX, LABELLED_ROLES, ImageRecord, RoundRecord
from segcore.steps.approval import read_round
from segcore.steps.finished import existing_run, published_index
from segcore.steps.index import Index, images_of, pool_of, summary_of
from segcore.steps.quality_card import predictions_of
from segcore.steps.run import Run
from segcore.store.manifest import read_manifest
from segcore.trust.lineage import Lineage, honest_images

DIGEST_CHARS = 12  # of a checkpoint's sha256 that are shown
RANKED_BY = {"views": "views", "checkpoints": "teacher's earlier checkpoints"}


def explain(name: str, image_name: str) -> str:
    """Return what is known of an image as lines. name: run_id or run folder. image_name: image_id or file_name.

    DataError when the run has no such image, or several.
    """
    run = existing_run(name)
    index = published_index(run)
    aside = set_aside_reason(run, index, image_name)
    if aside is not None:
        return aside
    image = named_image(run, index, image_name)
    lines = [*facts(run, index, image)]
    for record in rounds_of(run):
        lines += told(run, record, image)
    return "\n".join(lines)


def rounds_of(run: Run) -> tuple[RoundRecord, ...]:
    """Return the finished rounds of a run, from their round.json."""
    indices = sorted(int(path.parent.name.removeprefix("round_")) for path in run.path.glob("round_*/round.json"))
    return tuple(read_round(run, round_index) for round_index in indices)


def set_aside_reason(run: Run, index: Index, image_name: str) -> str | None:
    """Return why an image is no part of the run, None when it is, or when nobody knows it."""
    summary = summary_of(run, index)
    for what in ("dropped", "quarantined"):
        for item in summary[what]:
            if image_name == item["image_id"] or item["image_id"].endswith(f"/{image_name}"):
                return f"{item['image_id']}: no part of this run; {what} when it was indexed: {item['reason']}"
    return None


def named_image(run: Run, index: Index, image_name: str) -> ImageRecord:
    """Return the image that a name means."""
    images = images_of(run, index)
    exact = [image for image in images if image.image_id == image_name]
    found = exact or [image for image in images if image.file_name == image_name]
    found = found or [image for image in images if Path(image.file_name).name == image_name]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(image.image_id for image in found[:5])
        raise DataError(f"{image_name} must mean one image, and means {len(found)}; name one by its id: {listed}")
    near = difflib.get_close_matches(image_name, [image.image_id for image in images], n=3, cutoff=0.3)
    hint = f"did you mean {', '.join(near)}?" if near else f"the run has {len(images)} images"
    raise DataError(f"{image_name} must be an image of {run.run_id}, by image_id or file_name, and is none; {hint}")


def facts(run: Run, index: Index, image: ImageRecord) -> Iterator[str]:
    """Yield what the index says of an image."""
    size = f"{image.width} x {image.height} px"
    yield f"{image.image_id}: role {image.role}, {size}, sha256 {image.sha256[:DIGEST_CHARS]}"
    alike = [other for other in images_of(run, index) if other.group == image.group and other is not image]
    if alike:
        shown = ", ".join(f"{other.image_id} ({other.role})" for other in alike[:5])
        yield f"  stays on one side of every split with {len(alike)} others: {shown}"
    if image.role not in LABELLED_ROLES and image.image_id not in {member.image_id for member in pool_of(run, index)}:
        yield f"  gets no pseudo-label: {left_out(run, image)}"


def left_out(run: Run, image: ImageRecord) -> str:
    """Return why an image without labels is no part of the pool."""
    if image.role == "test" and not run.config.pool.use_test:
        return "pool.use_test is false; the final model labels it for the submission"
    if run.config.pool.max_images is not None:
        return f"the pool is capped at {run.config.pool.max_images} images (pool.max_images)"
    return "it resembles a labelled image"


def told(run: Run, record: RoundRecord, image: ImageRecord) -> Iterator[str]:
    """Yield what an image was in one round."""
    yield f"round {record.round_index}: {record.decision.outcome}, student {record.student.digest[:DIGEST_CHARS]}"
    if image.role not in LABELLED_ROLES and record.pseudo_labels is not None:
        yield from (f"  {line}" for line in pseudo_lines(run, record, image))
    yield f"  {learnt(run, record, image)}"
    if image.role in ("gate", "report"):
        kept, _ = honest_images([image], Lineage.read(run.path / record.student.lineage))
        yield "  may score this student" if kept else "  may not score this student: it, or a copy, is in its lineage"


def learnt(run: Run, record: RoundRecord, image: ImageRecord) -> str:
    """Return whether the student, or else a teacher of it, learnt from an image, and how."""
    lineage = Lineage.read(run.path / record.student.lineage)
    ways = sorted({seen.via for seen in lineage.images if seen.sha256 == image.sha256})
    words = {"gt": "its ground truth", "pseudo": "a pseudo-label of it"}
    if not ways:
        return "neither the student nor a teacher of it learnt from this image"
    label_map = pseudo_label_of(run, record, image)
    own = image.role == "train" or (label_map is not None and bool((label_map != IGNORE_INDEX).any()))
    who = "the student" if own else "not the student, but a teacher of it,"
    return f"{who} learnt from {' and '.join(words[way] for way in ways)}"


def pseudo_lines(run: Run, record: RoundRecord, image: ImageRecord) -> Iterator[str]:
    """Yield how an image was pseudo-labelled for a round: by whom, with which thresholds, and what was kept."""
    assert record.teacher is not None, "pseudo-labels have a teacher"
    assert record.pseudo_labels is not None
    folder = run.path / record.pseudo_labels.path
    yield f"labelled by teacher {record.teacher.digest[:DIGEST_CHARS]} ({record.pseudo_labels.path})"
    files = () if record.card is None else predictions_of(run, record.card)
    stored = StoredPredictions(files)
    if image.image_id in stored:
        ranked_by = run.config.filter.reliability
        agreement = dict(read_agreements(stored.places[image.image_id][0], ranked_by)).get(image.image_id)
        yield f"reliability, the agreement of its {RANKED_BY[ranked_by]}: {iou(agreement)}"
    label_map = pseudo_label_of(run, record, image)
    if label_map is None:
        unreliable = "it is not reliable enough for this round (filter.reliable_share); a later round may label it"
        yield f"no pseudo-label: {unreliable if image.image_id in stored else without_label(files, image)}"
        return
    cut = Thresholds.from_json(json.loads((folder / THRESHOLDS).read_text(encoding="utf-8")))
    kept = label_map != IGNORE_INDEX
    yield f"{percent(float(kept.mean()))} of its pixels are kept" + ("" if kept.any() else ": nothing to learn from")
    if image.image_id in stored:
        prediction = stored[image.image_id]
        yield from class_lines(cut, label_map, prediction.label_map, prediction.confidence)


def pseudo_label_of(run: Run, record: RoundRecord, image: ImageRecord) -> NDArray[np.uint8] | None:
    """Return the pseudo-label that a round's student could learn from, (H, W) uint8; None without one."""
    if record.pseudo_labels is None:
        return None
    with closing(LabelMaps(run.path / record.pseudo_labels.path / LABEL_MAPS)) as maps:
        if image.image_id not in maps:
            return None
        return maps[image.image_id]


def class_lines(
    cut: Thresholds, label_map: NDArray[np.uint8], predicted: NDArray[np.uint8], levels: NDArray[np.uint8]
) -> Iterator[str]:
    """Yield one line for each class that was predicted or kept. All maps: (H, W) uint8."""
    for class_id, name in enumerate(cut.class_names):
        there, kept = predicted == class_id, label_map == class_id
        if there.any() or kept.any():
            sure = f"{LEVEL_EDGES[levels[there]].mean():.3f}" if there.any() else "–"
            yield (
                f"  {name}: predicted on {percent(float(there.mean()))}, mean confidence {sure}, tau "
                f"{cut.tau[class_id]:.3f}, kept on {percent(float(kept.mean()))}"
            )


def without_label(files: Sequence[Path], image: ImageRecord) -> str:
    """Return why an image of the pool was not predicted. files: predictions of the labelling."""
    for file in files:
        value: Any = read_manifest(file.parent).value
        for item in value["quarantined"]:
            if item["image_id"] == image.image_id:
                return f"quarantined while it was labelled: {item['reason']}"
    return "it was not in the pool then"
