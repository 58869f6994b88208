"""How much runs together: pixels of a forward pass, and images whose logits are held at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from segcore.nn.passes import PassBudget
from segcore.nn.teacher import Teacher
from segcore.nn.tta import ViewSpec, forward, one_view
from segcore.nn.windows import WINDOW, needs_windows

log = logging.getLogger(__name__)

CPU_PASS_PIXELS = 2 * 512 * 512  # more inputs at once fall out of the caches and take longer, image by image
MAX_PASS_PIXELS = 32_000_000  # a GPU gains nothing from more
MEMORY_SHARE = 0.6  # of a GPU's free memory for forward passes; logits, probabilities and fragments need the rest
LOGITS_SHARE = 0.2
CPU_LOGITS_BYTES = 512 << 20
MAX_GROUP = 32  # images
MAX_GROUP_BYTES = 256 << 20  # of decoded pixels


@dataclass(frozen=True)
class GroupLimit:
    """How many images are worked on together: their views share forward passes, their logits are in memory at once.

    earlier: the networks that look at one view (segcore.nn.tta.one_view).
    """

    spec: ViewSpec
    teachers: Sequence[Teacher]
    logits_bytes: int
    earlier: Sequence[Teacher] = ()

    def images(self, budget: PassBudget) -> int:
        """Return how many: one where a pass of the largest view holds no more, else enough for two such passes.

        Images of another shape than most then still find partners.
        """
        side = max(self.spec.sizes)
        per_pass = budget.inputs(side, side) // self.spec.num_flips
        of_one = logits_of_image(self.teachers, self.spec) + logits_of_image(self.earlier, one_view(self.spec))
        return max(1, min(2 * per_pass if per_pass > 1 else 1, self.logits_bytes // of_one, MAX_GROUP))


def logits_of_image(teachers: Sequence[Teacher], spec: ViewSpec) -> int:
    """Return the bytes that the logits of a square image have, of all teachers and views together."""
    channels = sum(int(teacher.network.out_channels) for teacher in teachers)
    return 4 * channels * spec.num_flips * sum(size**2 for size in spec.sizes)


def pass_budget(teachers: Sequence[Teacher], spec: ViewSpec) -> PassBudget:
    """Return how much runs together: few pixels on a CPU, on a GPU what free memory allows by a measured pass."""
    if spec.device == "cpu":
        return PassBudget(CPU_PASS_PIXELS)
    largest = max(spec.sizes)
    side = WINDOW if needs_windows((largest, largest)) else largest
    bytes_per_pixel = max(measured_footprint(teacher, spec, side) for teacher in teachers)
    free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    pixels = int(free * MEMORY_SHARE / bytes_per_pixel)
    log.info("a forward pass takes %.0f bytes a pixel; %.1f GB are free", bytes_per_pixel, free / 1e9)
    return PassBudget(max(side * side, min(pixels, MAX_PASS_PIXELS)))


def measured_footprint(teacher: Teacher, spec: ViewSpec, side: int) -> float:
    """Return the bytes per pixel that a forward pass of a square view takes on the GPU at its height."""
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    pixels = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    with torch.inference_mode():
        forward(teacher, spec, PassBudget(spec.num_flips * side * side), [pixels])
    return (torch.cuda.max_memory_allocated() - before) / (spec.num_flips * side * side)


def logits_bytes(device: str) -> int:
    """Return how many bytes the logits of the images worked on together may have."""
    return CPU_LOGITS_BYTES if device == "cpu" else int(torch.cuda.mem_get_info()[1] * LOGITS_SHARE)
