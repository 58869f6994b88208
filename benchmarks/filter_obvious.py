"""The loop one would write first: class by class, cv2.connectedComponents, a mask and a pycocotools call for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from segcore.pseudo.confidence import dequantise
from segcore.pseudo.predictions import Prediction
from segcore.records import IGNORE_INDEX


@dataclass(frozen=True)
class Setting:
    """What is kept: from confidence tau, boundary_px away from a boundary, in components of min_px pixels and more."""

    num_classes: int
    tau: float
    boundary_px: int
    min_px: int


def obvious_loop(predictions: Sequence[Prediction], setting: Setting) -> dict[str, Any]:
    """Return a COCO document of predictions: class ids are category ids, 0 is not annotated, ignore is one above."""
    annotations: list[dict[str, Any]] = []
    for image_id, prediction in enumerate(predictions, 1):
        for entry in annotations_of(prediction, setting):
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **entry})
    return {"annotations": annotations}


def annotations_of(prediction: Prediction, setting: Setting) -> Iterator[dict[str, Any]]:
    """Yield the annotations of one image."""
    confidence = dequantise(prediction.confidence)
    label_map = np.where(confidence >= setting.tau, prediction.label_map, IGNORE_INDEX).astype(np.uint8)
    window = np.ones((2 * setting.boundary_px + 1,) * 2, np.uint8)
    label_map[cv2.dilate(prediction.label_map, window) != cv2.erode(prediction.label_map, window)] = IGNORE_INDEX
    for class_id in np.unique(label_map[label_map != IGNORE_INDEX]).tolist():
        num, components = cv2.connectedComponents((label_map == class_id).astype(np.uint8), connectivity=8)
        for number in range(1, num):
            mask = components == number
            if mask.sum() < setting.min_px:
                label_map[mask] = IGNORE_INDEX
            elif class_id != 0:
                score = round(float(confidence[mask].mean()), 6)
                yield {"category_id": class_id, "iscrowd": 0, **region(mask), "score": score}
    ignored = label_map == IGNORE_INDEX
    if ignored.any():
        yield {"category_id": setting.num_classes, "iscrowd": 1, **region(ignored)}


def region(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return where a mask, (H, W), is."""
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    segmentation = {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
    return {"segmentation": segmentation, "area": int(coco_mask.area(rle)), "bbox": coco_mask.toBbox(rle).tolist()}
