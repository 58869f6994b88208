"""PIDNet's head with the boundaries it learns from, so that any data with label maps can train it.

mmseg's own needs a map of edges beside each label map, from its data pipeline.
"""

from __future__ import annotations

import torch
from mmseg.models.decode_heads import PIDHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional

EDGE_WIDTH = 4  # px, as in mmseg's configs of PIDNet


@MODELS.register_module()
class EdgePIDHead(PIDHead):
    """PIDHead that draws the edges of a batch's label maps itself."""

    def _stack_batch_gt(self, batch_data_samples: list[SegDataSample]) -> tuple[Tensor, Tensor]:
        """Return the label maps and edge maps of a batch, (N, 1, H, W) int64."""
        labels = torch.stack([sample.gt_sem_seg.data for sample in batch_data_samples])
        return labels, edge_maps(labels, self.ignore_index)


def edge_maps(labels_N1HW: Tensor, ignore_index: int = 255, width: int = EDGE_WIDTH) -> Tensor:
    """Return 1 near where two classes meet and 0 elsewhere, (N, 1, H, W) int64, as mmseg's GenerateEdge draws it."""
    edges = torch.zeros_like(labels_N1HW, dtype=torch.float32)
    height, width_px = labels_N1HW.shape[2:]
    upper, lower = slice(None, height - 1), slice(1, None)
    left, right = slice(None, width_px - 1), slice(1, None)
    every = slice(None)
    pairs = (
        ((lower, every), (upper, every)),
        ((every, left), (every, right)),
        ((upper, left), (lower, right)),
        ((upper, right), (lower, left)),
    )
    for here, there in pairs:
        one, other = labels_N1HW[..., here[0], here[1]], labels_N1HW[..., there[0], there[1]]
        edges[..., here[0], here[1]][(one != other) & (one != ignore_index) & (other != ignore_index)] = 1
    before, after = width // 2, (width - 1) // 2
    around = functional.pad(edges, (before, after, before, after))
    return functional.max_pool2d(around, width, stride=1).long()
