"""From a raw prediction to a label map: what is not reliable becomes ignore, never background."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.config.schema import FilterConfig
from segcore.errors import DataError
from segcore.pseudo.components import find_components
from segcore.pseudo.predictions import Prediction
from segcore.pseudo.thresholds import Thresholds
from segcore.records import IGNORE_INDEX


def filter_prediction(prediction: Prediction, thresholds: Thresholds, config: FilterConfig) -> NDArray[np.uint8]:
    """Return the pseudo-label of one image: (H, W) uint8 class ids, 255 where it is not reliable.

    In this order: pixels under their class's threshold, the band along boundaries between predicted classes, and
    components of what is left that are smaller than min_component_px.
    """
    kept = reaches(prediction, thresholds)
    if config.boundary_px:
        kept &= ~boundary_band(prediction.label_map, config.boundary_px)
    label_map = np.where(kept, prediction.label_map, np.uint8(IGNORE_INDEX))
    if config.min_component_px > 1:
        label_map[small_components(label_map, config.min_component_px)] = IGNORE_INDEX
    return label_map


def reaches(prediction: Prediction, thresholds: Thresholds) -> NDArray[np.bool_]:
    """Return where the confidence reaches the threshold of the predicted class: (H, W) bool."""
    num_classes = len(thresholds.level)
    if prediction.label_map.size and prediction.label_map.max() >= num_classes:
        raise DataError(
            f"{prediction.image_id}: predicted class ids must be under {num_classes}, "
            f"got {prediction.label_map.max()}; the predictions are of another class list: label again"
        )
    return np.asarray(prediction.confidence >= np.array(thresholds.level, np.int16)[prediction.label_map])


def boundary_band(label_map: NDArray[np.uint8], width_px: int) -> NDArray[np.bool_]:
    """Return the pixels that have another class within width_px rows and columns: (H, W) bool.

    The band is width_px wide on either side of a boundary. The image's edge is no boundary.
    """
    window = np.ones((2 * width_px + 1, 2 * width_px + 1), np.uint8)
    return np.asarray(cv2.dilate(label_map, window) != cv2.erode(label_map, window))


def small_components(label_map: NDArray[np.uint8], min_px: int) -> NDArray[np.bool_]:
    """Return the pixels of 8-connected components of one class with fewer than min_px pixels: (H, W) bool."""
    class_ids = [class_id for class_id in np.unique(label_map).tolist() if class_id != IGNORE_INDEX]
    components = find_components(label_map, class_ids)
    is_small = np.concatenate([[False], components.area_px < min_px])
    return np.asarray(is_small[components.ids])
