"""COCO files: every record checked on loading, all problems of a file reported at once."""

from __future__ import annotations

import json
import posixpath
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from segcore.data.images import file_name_problem
from segcore.data.problems import Problems
from segcore.data.segmentation import Segmentation, parse_segmentation
from segcore.errors import DataError


class CocoImage(NamedTuple):
    """One entry of `images`.

    file_name: normalised POSIX path relative to the image folder. width, height: px; None only in image lists.
    sequence: "sequence:…" or "video_id:…" from the entry's key of that name; its frames stay on one side of a split.
    """

    id: int
    file_name: str
    width: int | None
    height: int | None
    sequence: str | None = None


@dataclass(frozen=True)
class CocoCategory:
    """One entry of `categories`. ignore: marked `"segloop": {"ignore": true}`; its pixels get ignore_index."""

    id: int
    name: str
    ignore: bool = False


@dataclass(frozen=True, eq=False)
class CocoAnnotation:
    """One entry of `annotations`, its segmentation checked against the size of its image."""

    id: int
    image_id: int
    category_id: int
    segmentation: Segmentation
    is_crowd: bool = False


@dataclass(frozen=True, eq=False)
class CocoFile:
    """A checked COCO file. Ids need not be contiguous; categories are in order of id."""

    path: Path
    images: tuple[CocoImage, ...]
    categories: tuple[CocoCategory, ...]
    annotations: tuple[CocoAnnotation, ...]

    @cached_property
    def by_image(self) -> dict[int, tuple[CocoAnnotation, ...]]:
        """Annotations by image id, () for an image without any."""
        found: dict[int, list[CocoAnnotation]] = defaultdict(list)
        for annotation in self.annotations:
            found[annotation.image_id].append(annotation)
        return {image.id: tuple(found[image.id]) for image in self.images}


def load_coco(path: Path, labelled: bool = True) -> CocoFile:
    """Load and check a COCO file; DataError names up to 20 of its problems.

    labelled: False reads an image list: categories and annotations are not looked at, and sizes may be missing.
    """
    document = read_json_object(path)
    reader = CocoReader(Problems(path), labelled)
    images = reader.images(reader.table(document, "images"))
    categories: tuple[CocoCategory, ...] = ()
    annotations: tuple[CocoAnnotation, ...] = ()
    if labelled:
        categories = reader.categories(reader.table(document, "categories"))
        annotations = reader.annotations(reader.table(document, "annotations"), images, categories)
    reader.problems.raise_if_any()
    return CocoFile(path, images, categories, annotations)


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`; DataError names line and column of a mistake."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: expected a COCO JSON file, cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8, got other bytes at offset {error.start}") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not valid JSON, line {error.lineno} column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise DataError(f"{path}: not a COCO file, its JSON is nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{path}: not a COCO file: {error}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: expected a JSON object with images and annotations, got a {type(document).__name__}")
    return document


@dataclass
class CocoReader:
    """Turns the tables of a COCO document into records, noting every problem."""

    problems: Problems
    labelled: bool
    seen_ids: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def table(self, document: dict[str, Any], name: str) -> list[Any]:
        """Return a top-level list of the document."""
        value = document.get(name)
        if isinstance(value, list):
            return value
        found = "no such key" if name not in document else type(value).__name__
        self.problems.add(f"{name} must be a list, got {found}")
        return []

    def images(self, entries: list[Any]) -> tuple[CocoImage, ...]:
        """Return the checked images."""
        images, names = [], set()
        for index, entry in enumerate(entries):
            where = f"images[{index}]"
            image_id = self.identity(entry, where, "images")
            if image_id is None:
                continue
            problem = file_name_problem(entry.get("file_name"))
            width, height = self.size(entry, "width", where), self.size(entry, "height", where)
            if problem is not None:
                self.problems.add(f"{where} (id {image_id}): {problem}")
                continue
            name = normal_name(entry["file_name"])
            if name in names:
                self.problems.add(f"{where} (id {image_id}): file_name {name!r} is listed twice")
            names.add(name)
            images.append(CocoImage(image_id, name, width, height, _sequence(entry)))
        return tuple(images)

    def categories(self, entries: list[Any]) -> tuple[CocoCategory, ...]:
        """Return the checked categories in order of id."""
        categories, names = [], set()
        for index, entry in enumerate(entries):
            where = f"categories[{index}]"
            category_id = self.identity(entry, where, "categories")
            if category_id is None:
                continue
            name = entry.get("name")
            if not isinstance(name, str) or not name.strip():
                self.problems.add(f"{where} (id {category_id}): name must be a non-empty text, got {name!r}")
                continue
            if name in names:
                self.problems.add(f"{where} (id {category_id}): the name {name!r} is used twice")
            names.add(name)
            key = entry.get("segloop")
            categories.append(CocoCategory(category_id, name, isinstance(key, dict) and key.get("ignore") is True))
        return tuple(sorted(categories, key=lambda category: category.id))

    def annotations(
        self, entries: list[Any], images: tuple[CocoImage, ...], categories: tuple[CocoCategory, ...]
    ) -> tuple[CocoAnnotation, ...]:
        """Return the checked annotations."""
        image_by_id = {image.id: image for image in images}
        category_ids = self.seen_ids["categories"]
        annotations = []
        for index, entry in enumerate(entries):
            where = f"annotations[{index}]"
            annotation_id = self.identity(entry, where, "annotations")
            if annotation_id is None:
                continue
            where = f"{where} (id {annotation_id})"
            image_id, category_id = entry.get("image_id"), entry.get("category_id")
            if not is_id(image_id) or image_id not in self.seen_ids["images"]:
                self.problems.add(f"{where}: image_id must be the id of an image in this file, got {image_id!r}")
            elif not is_id(category_id) or category_id not in category_ids:
                known = ", ".join(f"{category.id} {category.name}" for category in categories[:12])
                self.problems.add(f"{where}: category_id must be one of [{known}], got {category_id!r}")
            elif image_id in image_by_id:
                segmentation = self.segmentation(entry, where, image_by_id[image_id])
                if segmentation is not None:
                    crowd = entry.get("iscrowd") in (1, True)
                    annotations.append(CocoAnnotation(annotation_id, image_id, category_id, segmentation, crowd))
        return tuple(annotations)

    def segmentation(self, entry: dict[str, Any], where: str, image: CocoImage) -> Segmentation | None:
        """Return the checked segmentation, None when there was a problem."""
        if image.width is None or image.height is None:
            return None  # already reported with the image
        try:
            return parse_segmentation(entry.get("segmentation"), image.height, image.width)
        except ValueError as error:
            self.problems.add(f"{where} of image {image.file_name}: {error}")
            return None

    def identity(self, entry: Any, where: str, table: str) -> int | None:
        """Return an entry's id, None when it has no usable one."""
        if not isinstance(entry, dict):
            self.problems.add(f"{where} must be an object, got {type(entry).__name__}")
            return None
        found = entry.get("id")
        if not is_id(found):
            self.problems.add(f"{where}: id must be a whole number, got {found!r}")
            return None
        if found in self.seen_ids[table]:
            self.problems.add(f"{where}: the id {found} is used twice in {table}")
            return None
        self.seen_ids[table].add(found)
        return found

    def size(self, entry: dict[str, Any], side: str, where: str) -> int | None:
        """Return the width or height of an image entry."""
        value = entry.get(side)
        if is_id(value) and value > 0:
            return value
        if self.labelled or value is not None:
            self.problems.add(f"{where} (id {entry['id']}): {side} must be a whole number above 0, got {value!r}")
        return None


def normal_name(file_name: str) -> str:
    """Return the one spelling of a file name, of which "./a" and "a//b" are others; ".." was refused before."""
    if "/." in file_name or "//" in file_name or file_name[0] == "." or file_name[-1] == "/":
        return posixpath.normpath(file_name)
    return file_name


def is_id(value: Any) -> TypeGuard[int]:
    """Tell whether a JSON value is a whole number (true and false are not)."""
    return isinstance(value, int) and not isinstance(value, bool)


def _sequence(entry: dict[str, Any]) -> str | None:
    for key in ("sequence", "video_id"):
        if entry.get(key) is not None:
            return f"{key}:{entry[key]}"
    return None
