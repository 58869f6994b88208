"""How good a run's pseudo-labels really are, round by round, once the truth of the pool is given."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segcore.data.coco import CocoFile, CocoImage, load_coco
from segcore.data.images import probe_image
from segcore.data.label_maps import LabelMaps, write_label_maps
from segcore.data.paint import paint_oriented
from segcore.errors import ConfigError, DataError, RunError
from segcore.pseudo.audit import audit
from segcore.records import IGNORE_INDEX, ClassMap, ImageRecord
from segcore.steps.evaluate_set import matched_classes
from segcore.steps.finished import existing_run, published_index
from segcore.steps.index import Index, class_map_of, image_path, images_of
from segcore.steps.run import Run
from segcore.store.canonical import file_sha256
from segcore.store.durable import replace_file
from segcore.store.layout import guarded_place, pseudo_labels_place
from segcore.store.manifest import Manifest
from segcore.store.publish import published_candidates
from segcore.store.run_file import canonical_indented

LABEL_MAPS, ANNOTATIONS = "label_maps.arrow", "annotations.json"


@dataclass(frozen=True)
class AuditSpec:
    """What to audit. round_index, final: only these pseudo-labels; without either, all of the run."""

    run: str
    truth: Path
    round_index: int | None = None
    final: bool = False
    json_path: Path | None = None


@dataclass(frozen=True)
class LabelAudit:
    """One set of pseudo-labels against truth. name: "round 1" … or "final"; figures: see segcore/pseudo/audit.py."""

    name: str
    figures: dict[str, Any]
    table: str


def audit_labels(spec: AuditSpec) -> tuple[LabelAudit, ...]:
    """Compare a run's pseudo-labels with truth; RunError when the run has none of those asked for."""
    if spec.final and spec.round_index is not None:
        raise ConfigError("give either --round or --final, got both; without either all pseudo-labels are audited")
    run = existing_run(spec.run)
    index = published_index(run)
    labels = chosen_labels(run, spec)
    with TemporaryDirectory(prefix="segloop-audit-") as folder:
        truth_path = Path(folder) / "truth.arrow"
        classes = write_truth(run, index, spec.truth, truth_path)
        with closing(LabelMaps(truth_path)) as truth:
            audits = tuple(audit_one(name, path, truth, classes) for name, path in labels)
    if spec.json_path is not None:
        entries = [{"name": found.name} | found.figures for found in audits]
        content = {"run_id": run.run_id, "truth_sha256": file_sha256(spec.truth), "audits": entries}
        replace_file(spec.json_path, (canonical_indented(content) + "\n").encode("ascii"))
    return audits


def chosen_labels(run: Run, spec: AuditSpec) -> list[tuple[str, Path]]:
    """Return name and label maps file of the pseudo-labels to audit, rounds first."""
    found = [(f"round {number}", path) for number, path in round_labels(run)]
    final = final_labels(run)
    if spec.round_index is not None:
        found = [item for item in found if item[0] == f"round {spec.round_index}"]
    elif spec.final:
        found = []
    if final is not None and spec.round_index is None:
        found.append(("final", final))
    if not found:
        asked = "final" if spec.final else "any" if spec.round_index is None else f"round {spec.round_index}'s"
        raise RunError(
            f"{run.folder}: expected {asked} pseudo-labels, found none; `segloop status` shows what there is"
        )
    return found


def round_labels(run: Run) -> Iterator[tuple[int, Path]]:
    """Yield round index and label maps file of every finished round that has pseudo-labels."""
    for path in sorted(run.path.glob("round_*/round.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["pseudo_labels"] is not None:
            yield content["round_index"], run.path / content["pseudo_labels"]["path"] / LABEL_MAPS


def final_labels(run: Run) -> Path | None:
    """Return the label maps file that outputs/ was made from, None before the run has ended."""
    annotations = run.layout.outputs_dir / ANNOTATIONS
    if not annotations.is_file():
        return None
    digest = file_sha256(annotations)
    matching = [
        folder for place in (guarded_place(None), pseudo_labels_place(None))
        for folder, manifest in published_candidates(run.path, place) if holds(manifest, digest)
    ]  # fmt: skip
    return matching[0] / LABEL_MAPS if matching else None


def holds(manifest: Manifest, annotations_sha256: str) -> bool:
    """Tell whether published pseudo-labels have this COCO file."""
    entry = manifest.files.get(ANNOTATIONS)
    return entry is not None and entry.sha256 == annotations_sha256


def write_truth(run: Run, index: Index, truth: Path, out: Path) -> ClassMap:
    """Write the truth of pool images as label maps by image id; return the classes. Joined by file_name."""
    file = load_coco(truth)
    classes = matched_classes(class_map_of(run, index), file)
    fill = IGNORE_INDEX if run.config.data.unannotated == "ignore" else 0
    pairs = join(images_of(run, index, "unlabeled", "test"), file)
    if not pairs:
        raise DataError(
            f"{truth}: expected images of the run's pool by file_name, found none of them, such as "
            f"{file.images[0].file_name if file.images else 'no image at all'!r}; give the truth of the pool"
        )

    def painted() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        for image, coco in pairs:
            header = probe_image(image_path(run, image), run.config.data.max_megapixels)
            yield image.image_id, paint_oriented(coco, file.by_image[coco.id], header, classes, fill)

    write_label_maps(out, painted())
    return replace(classes, category_ids=class_map_of(run, index).category_ids)


def join(images: Sequence[ImageRecord], file: CocoFile) -> list[tuple[ImageRecord, CocoImage]]:
    """Return pool images with their entry in the truth, by file_name or by image id.

    DataError when one file_name means different images of several sources.
    """
    entries = {image.file_name: image for image in file.images}
    by_name: defaultdict[str, set[str]] = defaultdict(set)
    for image in images:
        by_name[image.file_name].add(image.sha256)
    pairs = []
    for image in images:
        coco = entries.get(image.image_id)
        if coco is None and image.file_name in entries:
            if len(by_name[image.file_name]) > 1:
                raise DataError(
                    f"{file.path}: {image.file_name!r} is the name of several images of this run; write "
                    f"{image.image_id!r} as file_name to say which"
                )
            coco = entries[image.file_name]
        if coco is not None:
            pairs.append((image, coco))
    return pairs


def audit_one(name: str, label_maps: Path, truth: LabelMaps, classes: ClassMap) -> LabelAudit:
    """Audit one set of pseudo-labels."""
    with closing(LabelMaps(label_maps)) as maps:
        figures = audit(maps, truth, classes)
    return LabelAudit(name, figures, render(name, figures))


def render(name: str, figures: dict[str, Any]) -> str:
    """Return figures as a table for people."""
    rows = [*figures["classes"], figures["all"]]
    width = max(len("class"), *(len(row["name"]) for row in rows))
    without = figures["num_without_truth"]
    head = f"{name}: {figures['num_images']} images" + (f", {without} more without truth" if without else "")
    lines = [head, f"{'class':{width}}  precision  coverage  recall      kept px     truth px"]
    for row in rows:
        shares = [percent(row["precision"], 9), percent(row["coverage"], 8), percent(row["recall"], 6)]
        lines.append(f"{row['name']:{width}}  {'  '.join(shares)} {row['kept_pixels']:>12,} {row['truth_pixels']:>12,}")
    return "\n".join(lines)


def percent(value: float | None, width: int) -> str:
    """Return a share as a percentage, right-aligned; a dash where there is nothing to divide by."""
    return f"{'–' if value is None else f'{value:.1%}':>{width}}"
