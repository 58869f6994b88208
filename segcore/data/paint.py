"""From annotations to label maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from segcore.data.coco import CocoAnnotation, CocoImage
from segcore.data.images import ImageHeader
from segcore.data.segmentation import area_px, to_mask, to_rle
from segcore.errors import DataError
from segcore.records import IGNORE_INDEX, ClassMap


def paint(
    annotations: Sequence[CocoAnnotation], height: int, width: int, class_map: ClassMap, fill: int
) -> NDArray[np.uint8]:
    """Paint the annotations of one image into a (height, width) uint8 label map of class ids.

    Overlaps: by area of the rasterised mask, largest first, so that small objects stay on top; equal areas by
    annotation id, the higher on top. Several polygons of one annotation are united, as in COCO: a hole needs an RLE,
    through which whatever lies below shows. A category that is no class (ignore) paints 255. iscrowd counts as its
    class. fill: value of pixels without annotation.
    """
    label_map = np.full((height, width), fill, dtype=np.uint8)
    class_ids = {category_id: class_id for class_id, category_id in enumerate(class_map.category_ids)}
    masks = [(annotation, to_rle(annotation.segmentation, height, width)) for annotation in annotations]
    for annotation, rle in sorted(masks, key=lambda item: (-area_px(item[1]), item[0].id)):
        label_map[to_mask(rle)] = class_ids.get(annotation.category_id, IGNORE_INDEX)
    return label_map


def paint_oriented(
    image: CocoImage, annotations: Sequence[CocoAnnotation], header: ImageHeader, class_map: ClassMap, fill: int
) -> NDArray[np.uint8]:
    """Paint the label map of an image as it is after EXIF orientation: (oriented height, oriented width) uint8.

    Annotations whose COCO size is the oriented size (always so where both sizes are equal) are in oriented
    coordinates, as annotation tools write them; where it is the stored size alone, the label map is turned along.
    Any other size is a DataError.
    """
    declared = (image.width, image.height)
    if declared == (header.oriented_width, header.oriented_height):
        return paint(annotations, header.oriented_height, header.oriented_width, class_map, fill)
    if declared == (header.width, header.height):
        return orient(paint(annotations, header.height, header.width, class_map, fill), header.orientation)
    raise DataError(size_mismatch(image.file_name, declared, header))


def size_mismatch(file_name: str, declared: tuple[int | None, int | None] | None, header: ImageHeader) -> str:
    """Return the message for a declared (width, height) that is not the image file's."""
    width, height = declared or (None, None)
    return (
        f"{file_name}: the COCO file says {width}x{height}, the image is "
        f"{header.oriented_width}x{header.oriented_height}; annotations and image must be of one size"
    )


def size_agrees(declared: tuple[int, int] | None, header: ImageHeader) -> bool:
    """Tell whether a declared (width, height), if any, is the image's, before or after EXIF orientation."""
    sizes = {(header.width, header.height), (header.oriented_width, header.oriented_height)}
    return declared is None or declared in sizes


def orient(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn an array (H, W, …) as stored into the EXIF orientation 1..8 (CIPA DC-008, tag 0x0112)."""
    turned = np.swapaxes(stored, 0, 1) if orientation >= 5 else stored
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    return np.ascontiguousarray(turned)
