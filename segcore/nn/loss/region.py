"""Losses of whole regions, mmseg's Dice and Lovász, on the labelled pixels of each image.

mmseg's own classes cannot stand beside pseudo-labels as they are: its Dice loss punishes what is predicted on ignored
pixels and refuses weights, its Lovász loss is NaN for a batch without labels and fails on a single labelled pixel.
Here they see the labelled pixels only, image by image; images without any are passed over, and each counts with the
mean weight of its labelled pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmseg.models.losses import DiceLoss, LovaszLoss
from torch import Tensor, nn
from torch.nn import functional

from segcore.nn.loss.batch_weights import BatchWeights

RegionLossOf = Callable[[Tensor, Tensor], Tensor]


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Return 1 - Dice, the mean over the classes present (Milletari et al. 2016, https://arxiv.org/abs/1606.04797).

    logits: (P, C). labels: (P,), none ignored. Returns a scalar.
    """
    present = labels.unique()
    truth = functional.one_hot(labels, logits.shape[1])[:, present]
    probabilities = logits.softmax(dim=1)[:, present]
    loss = DiceLoss(activate=False)  # flattens all but the first dimension: one Dice for each class
    return loss(probabilities.T[:, :, None, None], truth.T[:, :, None, None])


def lovasz(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the Lovász-softmax loss over the classes present (Berman et al. 2018, https://arxiv.org/abs/1705.08790).

    logits: (P, C). labels: (P,), none ignored. Returns a scalar.
    """
    loss = LovaszLoss(reduction="none")
    return loss(logits.T[None, :, :, None], labels[None, :, None], ignore_index=None)


REGION_LOSSES: dict[str, RegionLossOf] = {"dice": dice, "lovasz": lovasz}


class RegionLoss(nn.Module):
    """A region loss as mmseg's heads call theirs; loss_weight times the weighted sum over images, over their number."""

    def __init__(self, name: str, loss_weight: float, weights: BatchWeights) -> None:
        super().__init__()
        self.of_image = REGION_LOSSES[name]
        self.loss_weight = loss_weight
        self.weights = weights
        self.loss_name = f"loss_{name}"

    def forward(self, logits: Tensor, labels: Tensor, ignore_index: int = 255, **_: Any) -> Tensor:
        """Return the loss of a batch, a scalar; 0, with gradients of 0, when no pixel has a label.

        logits: (N, C, H, W). labels: (N, H, W). Weights of pixels are not asked for: those of the batch count.
        """
        images = self.weights.images
        losses = []
        for index, (image, label) in enumerate(zip(logits, labels, strict=True)):
            labelled = label != ignore_index
            if labelled.any():
                loss = self.of_image(image[:, labelled].T.float(), label[labelled].long())
                losses.append(loss if images is None else loss * images[index])
        return self.loss_weight * torch.stack(losses).mean() if losses else logits.sum() * 0.0
