"""From probabilities to what is kept of an image: label map, confidence, histogram, agreement; made on the device.

Only bytes leave it. On a GPU they are copied while it goes on with the next images; whoever writes them waits for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segcore.errors import StepError
from segcore.nn.agreement import Agreement
from segcore.nn.full_size import AreaAverage, ViewLogits
from segcore.nn.teacher import Teacher, decided, joint_threshold
from segcore.nn.vote_grid import VoteGrid
from segcore.process.jobs import PredictImage
from segcore.pseudo.confidence import LEVEL_EDGES, NUM_LEVELS, OVERSHOOT
from segcore.pseudo.predictions import Prediction
from segcore.pseudo.votes import Votes, grid_step


def rounded_up(edges: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the smallest float32 at or above each edge: a float32 reaches it exactly if it reaches the edge."""
    nearest = edges.astype(np.float32)
    return np.where(nearest < edges, np.nextafter(nearest, np.float32(np.inf)), nearest)


@cache
def edges(device: torch.device) -> Tensor:
    """Return the confidences at which levels 1 to 255 begin, on a device: (255,) float32."""
    return torch.from_numpy(rounded_up(LEVEL_EDGES[1:])).to(device)


@dataclass(frozen=True)
class FinalMaps:
    """What is kept of one image, still on its way from the device."""

    image: PredictImage
    label_map: Tensor  # (H, W) uint8
    levels: Tensor  # (H, W) uint8
    histogram: Tensor  # (C, 256) int64
    extremes: Tensor  # (2,) float32: the lowest and the highest confidence
    agreement: Tensor  # () float64: of the views, nan of one view
    checkpoint_agreement: Tensor  # () float64: of earlier checkpoints, nan without
    small_label_map: Tensor | None  # (h, w) uint8
    wait: Callable[[], None]
    grid: Tensor | None = None  # (C, h, w) float16, with image.vote_px

    def prediction(self) -> Prediction:
        """Wait for the maps and return them; StepError if the network gave no probabilities."""
        self.wait()
        lowest, highest = self.extremes.tolist()
        if not (lowest >= -OVERSHOOT and highest <= 1 + OVERSHOOT):
            raise StepError(
                f"prediction: the checkpoint gives values that are no probabilities ({lowest} … {highest} for "
                f"{self.image.image_id}); its training must have diverged"
            )
        small = None if self.small_label_map is None else self.small_label_map.numpy()
        maps = (self.label_map.numpy(), self.levels.numpy())
        agreements = (known(self.agreement), known(self.checkpoint_agreement))
        return Prediction(self.image.image_id, *maps, small, self.histogram.numpy(), *agreements)

    def votes(self) -> Votes | None:
        """Wait for the probabilities on a grid and return them; None when they were not asked for."""
        if self.grid is None or self.image.vote_px is None:
            return None
        self.wait()
        size = (self.label_map.shape[0], self.label_map.shape[1])
        return Votes(self.image.image_id, self.grid.numpy(), grid_step(size, self.image.vote_px))


def known(agreement: Tensor) -> float | None:
    """Return a () tensor's value; None for nan."""
    value = float(agreement)
    return None if math.isnan(value) else value


def final_maps(
    image: PredictImage, logits: ViewLogits, teachers: Sequence[Teacher], earlier: ViewLogits | None = None
) -> FinalMaps:
    """Return label map, levels, histogram, agreements and, if asked for, the small label map of one image.

    earlier: what earlier checkpoints say of the image, one view each; None where nobody asks how far they agree.
    """
    device, num_classes = logits.device, teachers[0].num_classes
    threshold = joint_threshold(teachers)
    label_map = torch.empty(logits.size, dtype=torch.uint8, device=device)
    levels = torch.empty_like(label_map)
    histogram = torch.zeros(num_classes * NUM_LEVELS, dtype=torch.int64, device=device)
    extremes: list[Tensor] = []
    average = AreaAverage(logits.size, image.small_size) if image.small_size is not None else None
    grid = VoteGrid(grid_step(logits.size, image.vote_px), threshold) if image.vote_px is not None else None
    agreement, earlier_agreement = (Agreement(num_classes, threshold, least) for least in (2, 1))
    for rows in logits.bands():
        agreement.begin(rows.start)
        probabilities_CHW = logits.probabilities(rows, agreement.see)
        class_ids, confidence = decided(probabilities_CHW, threshold)
        agreement.compare(class_ids)
        if earlier is not None:
            earlier_agreement.begin(rows.start)
            earlier.probabilities(rows, earlier_agreement.see)
            earlier_agreement.compare(class_ids)
        of_band = quantised(confidence)
        label_map[rows], levels[rows] = class_ids, of_band
        histogram += counted(class_ids * NUM_LEVELS + of_band, len(histogram))
        extremes.append(torch.stack(torch.aminmax(confidence)))
        if average is not None:
            average.add(probabilities_CHW, rows)
        if grid is not None:
            grid.take(probabilities_CHW, rows.start)
    small = decided(average.probabilities(), threshold)[0].to(torch.uint8) if average is not None else None
    lowest_highest = torch.stack([*torch.stack(extremes).amin(0)[:1], *torch.stack(extremes).amax(0)[1:]])
    counts = histogram.view(num_classes, NUM_LEVELS)
    kept = (on_host(label_map), on_host(levels), on_host(counts), on_host(lowest_highest))
    agreed = (on_host(agreement.mean_iou()), on_host(earlier_agreement.mean_iou()))
    small_map = None if small is None else on_host(small)
    votes = None if grid is None else on_host(grid.values())
    return FinalMaps(image, *kept, *agreed, small_map, wait_for(device), votes)


def quantised(confidence: Tensor) -> Tensor:
    """Return the level of each confidence as segcore.pseudo.confidence.quantise does: int32 of the same shape."""
    return torch.bucketize(confidence, edges(confidence.device), right=True, out_int32=True)


def counted(cells: Tensor, num_cells: int) -> Tensor:
    """Return how often each of num_cells values occurs in an int64 tensor: (num_cells,) int64."""
    if cells.device.type == "cpu":
        return torch.bincount(cells.view(-1), minlength=num_cells)
    flat = cells.view(-1)  # bincount would make the GPU's queue wait for its result's size
    return torch.zeros(num_cells, dtype=torch.int64, device=cells.device).scatter_add_(0, flat, torch.ones_like(flat))


def on_host(values: Tensor) -> Tensor:
    """Return a tensor in host memory; from a GPU it is copied while the caller goes on, see wait_for()."""
    if values.device.type == "cpu":
        return values
    return torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)


def wait_for(device: torch.device) -> Callable[[], None]:
    """Return a function that waits for all that the device has been told so far."""
    if device.type == "cpu":
        return lambda: None
    event = torch.cuda.Event(blocking=True)
    event.record()
    return event.synchronize
