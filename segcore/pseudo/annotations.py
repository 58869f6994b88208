"""Pseudo-labels as a COCO file that pycocotools loads and draws.

One annotation per 8-connected component of a class: RLE, true area and bounding box, score (mean confidence); in an
image by class id, then by first pixel, column by column. The
region that is not reliable is an `iscrowd: 1` annotation of an `ignore` category, one per image, so that it stays
apart from background. An implicit background, which has no category, gets no annotation. The key `segloop` of an
annotation holds where it comes from.

Ordinary COCO loaders skip crowd annotations and would turn ignore into background: train on label maps instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TextIO

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from segcore.data.coco import load_coco
from segcore.data.paint import paint
from segcore.errors import DataError
from segcore.pseudo.components import run_lengths
from segcore.pseudo.filtering import PseudoLabel
from segcore.records import IGNORE_INDEX, ClassMap, ImageRecord

IGNORE_NAME = "ignore"
DIGITS = 6  # of scores and thresholds in the file


@dataclass(frozen=True)
class Origin:
    """Where pseudo-labels come from. teacher: sha256 of its weights. tau: threshold per class id.

    frozen: by class id, teacher, round and tau of a class whose pseudo-labels are an earlier round's.
    """

    teacher: str
    round_index: int
    tau: tuple[float, ...]
    frozen: Mapping[int, tuple[str, int, float]] = field(default_factory=dict)


class AnnotationWriter:
    """Write a COCO file image by image: `with AnnotationWriter(path, images, class_map, origin) as writer: …`.

    images: every image that will be written; one that is listed but not written would read as all background, so
    leaving the block without having written all of them raises DataError. Only one image's annotations are in memory.
    An exception inside the block removes the unfinished file.
    """

    def __init__(self, path: Path, images: Sequence[ImageRecord], class_map: ClassMap, origin: Origin) -> None:
        self.path = path
        self.num_annotations = 0
        self._origin = origin
        self._category_ids = written_category_ids(class_map)
        self._unwritten = {image.image_id: index for index, image in enumerate(images, 1)}
        self._file: TextIO = path.open("w", encoding="utf-8", newline="\n")
        self._file.write('{"info": ' + json.dumps(info_of(origin)))
        self._write_table("categories", categories_of(class_map))
        self._write_table("images", image_entries(images))
        self._file.write(',\n"annotations": [')

    def _write_table(self, name: str, entries: Iterable[dict[str, Any]]) -> None:
        self._file.write(f',\n"{name}": [')
        for index, entry in enumerate(entries):
            self._file.write((",\n" if index else "\n") + json.dumps(entry))
        self._file.write("]")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        complete = kind is None and not self._unwritten
        if complete:
            self._file.write("]}\n")
        self._file.close()
        if not complete:
            self.path.unlink(missing_ok=True)
        if kind is None and not complete:
            raise DataError(
                f"{self.path}: every listed image must be written, {len(self._unwritten)} are not, "
                f"such as {next(iter(self._unwritten))!r}; list only images that have predictions"
            )

    def write(self, image_id: str, annotations: Sequence[str]) -> None:
        """Write one image's annotations, as annotation_texts gives them; they are numbered here."""
        coco_id = self._unwritten.pop(image_id, None)
        if coco_id is None:
            raise DataError(f"{self.path}: {image_id!r} is not in the list of images, or is written twice")
        for text in annotations:
            separator = ",\n" if self.num_annotations else "\n"
            self.num_annotations += 1
            self._file.write(f'{separator}{{"id": {self.num_annotations}, "image_id": {coco_id}, {text[1:]}')


def info_of(origin: Origin) -> dict[str, Any]:
    """Return the `info` object; without a date, so that equal pseudo-labels are equal files."""
    return {
        "description": "segloop pseudo-labels; crowd annotations of the category marked ignore are unknown, "
        "not background",
        "segloop": {"format": "pseudo_annotations/1", "teacher": origin.teacher, "round": origin.round_index},
    }


def categories_of(class_map: ClassMap) -> list[dict[str, Any]]:
    """Return the user's categories with their ids, then the ignore category."""
    pairs = zip(class_map.category_ids, class_map.names, strict=True)
    entries = [{"id": category_id, "name": name} for category_id, name in pairs if category_id is not None]
    name = IGNORE_NAME if IGNORE_NAME not in class_map.names else f"segloop {IGNORE_NAME}"
    ignore = {"id": written_category_ids(class_map)[IGNORE_INDEX], "name": name, "segloop": {"ignore": True}}
    return [*entries, ignore]


def written_category_ids(class_map: ClassMap) -> dict[int, int]:
    """Return the category id of each class id that is written, and of IGNORE_INDEX: one above the highest."""
    ids = {class_id: number for class_id, number in enumerate(class_map.category_ids) if number is not None}
    return ids | {IGNORE_INDEX: max(ids.values(), default=0) + 1}


def coco_file_names(images: Sequence[ImageRecord]) -> tuple[str, ...]:
    """Return the file_name of each image in a COCO file: its own, or its image_id where sources share a name."""
    names = tuple(image.file_name for image in images)
    return names if len(set(names)) == len(names) else tuple(image.image_id for image in images)


def image_entries(images: Sequence[ImageRecord]) -> Iterator[dict[str, Any]]:
    """Yield the entries of `images`, with ids from 1."""
    for index, (image, name) in enumerate(zip(images, coco_file_names(images), strict=True), 1):
        entry = {"id": index, "file_name": name, "width": image.width, "height": image.height}
        yield entry | {"segloop": {"image_id": image.image_id}}


def annotation_texts(label: PseudoLabel, class_map: ClassMap, origin: Origin) -> list[str]:
    """Return the annotations of one image as JSON objects that lack only id and image_id."""
    category_ids = written_category_ids(class_map)
    return [json.dumps(entry) for entry in annotations_of(label, category_ids, origin)]


def annotations_of(label: PseudoLabel, category_ids: dict[int, int], origin: Origin) -> Iterator[dict[str, Any]]:
    """Yield the annotations of one image, without id and image_id: components by class id, then ignore."""
    components = label.components
    means = np.round(label.confidence / components.area_px, DIGITS).tolist()
    rows = zip(components.class_id.tolist(), components.area_px.tolist(), components.bbox.tolist(), means, strict=True)
    for (class_id, area_px, bbox, mean), counts in zip(rows, run_lengths(components), strict=True):
        if class_id not in category_ids:
            continue
        head = {"category_id": category_ids[class_id], "iscrowd": int(class_id == IGNORE_INDEX)}
        shape = {"segmentation": compressed(counts, components.shape), "area": area_px, "bbox": bbox}
        if class_id == IGNORE_INDEX:
            yield head | shape | {"segloop": lineage_key(origin.teacher, origin.round_index, None, mean)}
        else:
            own = (origin.teacher, origin.round_index, origin.tau[class_id])
            teacher, round_index, tau = origin.frozen.get(class_id, own)
            key = lineage_key(teacher, round_index, round(tau, DIGITS), mean)
            yield head | shape | {"score": mean, "segloop": key}


def compressed(counts: NDArray[np.uint32], shape: tuple[int, int]) -> dict[str, Any]:
    """Return run lengths of a map of shape (H, W) as a `segmentation` with compressed RLE."""
    rle = coco_mask.frPyObjects({"size": shape, "counts": counts}, *shape)
    return {"size": list(shape), "counts": rle["counts"].decode("ascii")}


def lineage_key(teacher: str, round_index: int, tau: float | None, mean_confidence: float) -> dict[str, Any]:
    """Return an annotation's `segloop` key."""
    return {"teacher": teacher, "round": round_index, "tau": tau, "mean_confidence": mean_confidence}


def decode_annotations(
    path: Path, class_map: ClassMap, unannotated: Literal["background", "ignore"]
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield file_name and (H, W) uint8 label map of every image in a COCO file; the inverse of AnnotationWriter.

    unannotated: what pixels without annotation become: class 0, or 255.
    """
    coco = load_coco(path)
    fill = IGNORE_INDEX if unannotated == "ignore" else 0
    for image in coco.images:
        if image.height is not None and image.width is not None:
            annotations = coco.by_image[image.id]
            yield image.file_name, paint(annotations, image.height, image.width, class_map, fill)
