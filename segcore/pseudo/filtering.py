"""From a raw prediction to a label map: what is not reliable becomes ignore, never background."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.config.label_schema import FilterConfig
from segcore.errors import DataError
from segcore.pseudo.components import Components, covered, find_components, sum_over
from segcore.pseudo.confidence import LEVEL_EDGES, NO_LEVEL
from segcore.pseudo.predictions import Prediction
from segcore.pseudo.thresholds import Thresholds
from segcore.records import IGNORE_INDEX


@dataclass(frozen=True, eq=False)
class PseudoLabel:
    """What is reliable of a prediction.

    label_map: (H, W) uint8 class ids, 255 = ignore. components: its connected components. confidence: (K,) float64,
    sum of confidence over each component.
    """

    label_map: NDArray[np.uint8]
    components: Components
    confidence: NDArray[np.float64]


def whole_prediction(prediction: Prediction) -> PseudoLabel:
    """Return a prediction with nothing left out, whatever its confidence."""
    return pseudo_label(prediction, prediction.label_map)


def filter_prediction(prediction: Prediction, thresholds: Thresholds, config: FilterConfig) -> PseudoLabel:
    """Return the pseudo-label of one image.

    Ignored are, in this order: pixels under their class's threshold, the band along boundaries between predicted
    classes, components of what is left that are smaller than min_component_px, and those whose mean confidence is
    under min_component_score.
    """
    kept = reaches(prediction, thresholds)
    if config.boundary_px:
        kept &= ~boundary_band(prediction.label_map, config.boundary_px)
    label_map = prediction.label_map | (~kept).view(np.uint8) * np.uint8(IGNORE_INDEX)
    label = pseudo_label(prediction, label_map, config.min_component_px)
    return without_unsure(prediction, label, config.min_component_score)


def without_unsure(prediction: Prediction, label: PseudoLabel, min_score: float) -> PseudoLabel:
    """Return a pseudo-label without the components whose mean confidence is under min_score, in [0, 1]."""
    components = label.components
    unsure = (label.confidence < min_score * components.area_px) & (components.class_id != IGNORE_INDEX)
    if not unsure.any():
        return label
    label_map = label.label_map.copy()
    label_map[covered(components, unsure)] = IGNORE_INDEX
    return pseudo_label(prediction, label_map)


def pseudo_label(prediction: Prediction, label_map: NDArray[np.uint8], min_component_px: int = 0) -> PseudoLabel:
    """Return a label map with its components; those that are smaller than min_component_px become ignore."""
    label_map, components = find_components(label_map, min_component_px)
    return PseudoLabel(label_map, components, sum_over(components, prediction.confidence, LEVEL_EDGES))


def reaches(prediction: Prediction, thresholds: Thresholds) -> NDArray[np.bool_]:
    """Return where the confidence reaches the threshold of the predicted class: (H, W) bool."""
    num_classes = len(thresholds.level)
    highest = prediction.label_map.max(initial=0)
    if highest >= num_classes:
        raise DataError(
            f"{prediction.image_id}: predicted class ids must be under {num_classes}, "
            f"got {highest}; the predictions are of another class list: label again"
        )
    lowest_kept = np.zeros(256, np.uint8)
    lowest_kept[:num_classes] = np.minimum(thresholds.level, NO_LEVEL - 1)
    kept = np.asarray(prediction.confidence >= cv2.LUT(prediction.label_map, lowest_kept))
    for class_id in np.flatnonzero(np.array(thresholds.level) == NO_LEVEL):
        kept &= prediction.label_map != class_id
    return kept


def boundary_band(label_map: NDArray[np.uint8], width_px: int) -> NDArray[np.bool_]:
    """Return the pixels that have another class within width_px rows and columns: (H, W) bool.

    The band is width_px wide on either side of a boundary. The image's edge is no boundary.
    """
    window = np.ones((2 * width_px + 1, 2 * width_px + 1), np.uint8)
    return np.asarray(cv2.dilate(label_map, window) != cv2.erode(label_map, window))
