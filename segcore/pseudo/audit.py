"""How good pseudo-labels really are, once truth for the pool is known (`segloop audit`)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from segcore.data.label_maps import LabelMaps
from segcore.errors import DataError
from segcore.pseudo.quality import audit_rows, count_pairs
from segcore.records import ClassMap


def audit(label_maps: LabelMaps, truth: LabelMaps, class_map: ClassMap) -> dict[str, Any]:
    """Compare pseudo-labels with truth and return the real precision, coverage and recall per class and over all.

    Both hold (H, W) uint8 class ids by image id, 255 = ignore. Images without truth are counted, not scored; if none
    has truth, DataError. Returns {"num_images", "num_without_truth", "all": row, "classes": [row, …]}, the rows as
    AuditRow in segcore/pseudo/quality.py.
    """
    shared = [image_id for image_id in label_maps.ids() if image_id in truth]
    if not shared:
        raise DataError(
            f"the truth must hold pseudo-labelled images, got none in common: {list(truth.ids()[:1])} against "
            f"{list(label_maps.ids()[:1])}; give the truth of the pool"
        )
    counts = np.zeros((class_map.num_classes + 1, class_map.num_classes + 1), np.int64)
    for image_id in shared:
        label_map, true_map = label_maps[image_id], truth[image_id]
        if label_map.shape != true_map.shape:
            raise DataError(f"{image_id}: truth must be {label_map.shape} (H, W), got {true_map.shape}")
        counts += count_pairs(true_map, label_map, class_map.num_classes)
    *classes, total = (asdict(row) for row in audit_rows(counts[:-1], class_map.names))
    num_without = len(label_maps) - len(shared)
    return {"num_images": len(shared), "num_without_truth": num_without, "all": total, "classes": classes}
