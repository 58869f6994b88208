"""Index-PNG folders to COCO: one RLE annotation per class and image, ignored pixels kept as ignore."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from segcore.data.images import probe_image, safe_join
from segcore.data.mask_layouts import Layout, MaskClasses, MaskPair, mask_classes, mask_pairs
from segcore.data.problems import Problems
from segcore.errors import DataError

MAX_MASK_MEGAPIXELS = 500.0
IGNORE_NAME = "ignore"


@dataclass(frozen=True)
class ImportSpec:
    """Masks to import. class_names: of the mask values 0, 1, 2 …; None: those of the layout (plain has none)."""

    images_dir: Path
    masks_dir: Path
    out_json: Path
    layout: Layout = "plain"
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ImportSummary:
    """What was imported. ignored_share: fraction of all pixels that are ignore. pixels: by class name."""

    num_images: int
    num_annotations: int
    ignored_share: float
    pixels: dict[str, int]


def import_masks(spec: ImportSpec) -> ImportSummary:
    """Write a COCO file of all images with a mask; DataError listing every bad mask.

    Category id = mask value + 1. Every class pixel is annotated, background included, one annotation per class and
    image; ignored pixels are an `iscrowd: 1` annotation of the category `ignore`, marked `"segloop": {"ignore": true}`,
    which loads as 255. So nothing is left to data.unannotated. Masks in the coordinates of the image as stored (EXIF
    orientation) stay so.
    """
    pairs = mask_pairs(spec.images_dir, spec.masks_dir, spec.layout)
    classes = mask_classes(spec.layout, spec.class_names, pairs[0].mask)
    if IGNORE_NAME in classes.names.values():
        raise DataError(f"no class may be called {IGNORE_NAME!r}; mark such pixels 255 in the masks and drop the name")
    writer = CocoBuilder(classes)
    problems = Problems(spec.masks_dir)
    for pair in pairs:
        try:
            writer.add(pair, read_checked_mask(spec, pair, classes))
        except DataError as error:
            problems.add(str(error))
    problems.raise_if_any()
    partial = spec.out_json.with_name(spec.out_json.name + ".part")
    partial.write_text(json.dumps(writer.document(), separators=(",", ":")), encoding="utf-8")
    partial.replace(spec.out_json)
    return writer.summary()


def read_checked_mask(spec: ImportSpec, pair: MaskPair, classes: MaskClasses) -> NDArray[np.uint8]:
    """Return the mask of a pair, (H, W) uint8, its size and values checked."""
    mask = read_index_png(pair.mask)
    header = probe_image(safe_join(spec.images_dir, pair.file_name), MAX_MASK_MEGAPIXELS)
    sizes = {(header.height, header.width), (header.oriented_height, header.oriented_width)}
    if mask.shape not in sizes:
        raise DataError(
            f"{pair.mask.name}: expected the size of its image, {header.oriented_width}x{header.oriented_height}, "
            f"got {mask.shape[1]}x{mask.shape[0]}"
        )
    unknown = sorted(set(np.unique(mask).tolist()) - set(classes.names) - set(classes.ignored))
    if unknown:
        raise DataError(
            f"{pair.mask.name}: expected values {min(classes.names)} to {max(classes.names)} or ignore, got "
            f"{', '.join(map(str, unknown[:8]))}; name these classes, in order of value"
        )
    return mask


def read_index_png(path: Path) -> NDArray[np.uint8]:
    """Read an index PNG, (H, W) uint8: palette indices as they are, or 8-bit grey. A colour PNG is a DataError."""
    probe_image(path, MAX_MASK_MEGAPIXELS)
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode not in ("P", "L", "1"):
                raise DataError(
                    f"{path.name}: expected a PNG of class indices (8-bit palette or grey), got mode {image.mode}; "
                    "convert colours to indices first"
                )
            return np.array(image, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path.name}: expected an index PNG, cannot be decoded ({error})") from error


@dataclass
class CocoBuilder:
    """Collects images and annotations."""

    classes: MaskClasses
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    def add(self, pair: MaskPair, mask: NDArray[np.uint8]) -> None:
        """Add an image with its mask, (H, W) uint8."""
        height, width = mask.shape
        image_id = len(self.images) + 1
        self.images.append({"id": image_id, "file_name": pair.file_name, "width": width, "height": height})
        for category_id, crowd, region in self.regions(mask):
            rle = coco_mask.encode(np.asfortranarray(region))
            counts = {"size": [height, width], "counts": rle["counts"].decode("ascii")}
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": image_id,
                    "category_id": category_id,
                    "segmentation": counts,
                    "area": int(coco_mask.area(rle)),
                    "bbox": [float(value) for value in coco_mask.toBbox(rle)],
                    "iscrowd": crowd,
                }
            )

    def regions(self, mask: NDArray[np.uint8]) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
        """Yield (category id, iscrowd, (H, W) uint8 mask of 0 and 1) for every class in a mask, ignore last."""
        for value in np.unique(mask).tolist():
            if value in self.classes.names:
                yield value + 1, 0, (mask == value).astype(np.uint8)
        ignored = ~np.isin(mask, list(self.classes.names))
        if ignored.any():
            yield self.ignore_id, 1, ignored.astype(np.uint8)

    @property
    def ignore_id(self) -> int:
        """Return the id of the ignore category, after all classes."""
        return max(self.classes.names) + 2

    def categories(self) -> Sequence[dict[str, Any]]:
        """Return the categories."""
        named = [{"id": value + 1, "name": name} for value, name in sorted(self.classes.names.items())]
        return [*named, {"id": self.ignore_id, "name": IGNORE_NAME, "segloop": {"ignore": True}}]

    def document(self) -> dict[str, Any]:
        """Return the COCO document."""
        return {"images": self.images, "categories": self.categories(), "annotations": self.annotations}

    def summary(self) -> ImportSummary:
        """Return what was collected."""
        names = {category["id"]: category["name"] for category in self.categories()}
        pixels = dict.fromkeys(names.values(), 0)
        for annotation in self.annotations:
            pixels[names[annotation["category_id"]]] += annotation["area"]
        ignored = pixels.pop(IGNORE_NAME)
        total = ignored + sum(pixels.values())
        return ImportSummary(len(self.images), len(self.annotations), ignored / total if total else 0.0, pixels)
