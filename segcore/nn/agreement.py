"""How far the views of an image agree, or checkpoints of one training: its reliability (segcore/pseudo/selection.py).

Each view by itself would give a label map, and so does each earlier checkpoint; agreement is the mean over them of the
mean IoU with the label map that the teacher gives in the end, over the classes in either. It is measured on every
fourth pixel of every fourth row, which costs a sixteenth and tells as much.
"""

from __future__ import annotations

import torch
from torch import Tensor

from segcore.nn.teacher import decided

STEP_PX = 4


class Agreement:
    """Counts, band by band, what each view or checkpoint says where the teacher in the end says what.

    `begin` with the first row of a band, `see` every view of it, in the same order for each band, then `compare` with
    the band's final class ids. Which pixels are looked at does not depend on the bands.
    threshold: of segcore.nn.teacher.joint_threshold(). least: how many label maps an agreement needs: a single view
    agrees with itself, a single earlier checkpoint does not.
    """

    def __init__(self, num_classes: int, threshold: float, least: int) -> None:
        self.num_classes = num_classes
        self.threshold = threshold
        self.least = least
        self.first_row = 0  # of the band's rows that are looked at
        self.seen: list[Tensor] = []
        self.counts: Tensor | None = None  # (V, C * C) int64, V views: by view's class * C + final class

    def begin(self, top: int) -> None:
        """Go on to the band that begins with row `top` of the image."""
        self.first_row = -top % STEP_PX
        self.seen = []

    def see(self, probabilities_FCHW: Tensor) -> None:
        """Take what a view or checkpoint says of a band, and its mirror image, if any, which is still mirrored."""
        rows_FCHW = probabilities_FCHW[:, :, self.first_row :: STEP_PX]
        for mirrored, rows_CHW in enumerate(rows_FCHW):
            sparse_CHW = (rows_CHW.flip(2) if mirrored else rows_CHW)[:, :, ::STEP_PX]
            self.seen.append(decided(sparse_CHW, self.threshold)[0])

    def compare(self, class_ids_HW: Tensor) -> None:
        """Count what was seen of a band, if anything, against what the teacher says of it in the end."""
        if not self.seen:
            return
        final_HW = class_ids_HW[self.first_row :: STEP_PX, ::STEP_PX]
        num_cells = self.num_classes**2
        views = torch.arange(len(self.seen), device=final_HW.device)[:, None, None] * num_cells
        cells = (torch.stack(self.seen) * self.num_classes + final_HW + views).flatten()
        found = torch.zeros(len(self.seen) * num_cells, dtype=torch.int64, device=cells.device)
        found.scatter_add_(0, cells, torch.ones_like(cells))
        found = found.view(len(self.seen), num_cells)
        self.counts = found if self.counts is None else self.counts + found

    def mean_iou(self) -> Tensor:
        """Return the agreement, a float64 in [0, 1] on the device; nan where too few label maps were seen."""
        if self.counts is None or len(self.counts) < self.least:
            return torch.full((), torch.nan, dtype=torch.float64)
        pairs = self.counts.view(-1, self.num_classes, self.num_classes)
        hits = pairs.diagonal(dim1=1, dim2=2).double()
        union = pairs.sum(1) + pairs.sum(2) - hits
        present = union > 0
        iou = torch.where(present, hits / union.clamp(min=1), 0.0).sum(1) / present.sum(1)
        return iou.mean()
