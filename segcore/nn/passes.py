"""Forward passes that fit into memory: how many pixels at once, and what happens when that was too many."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)

CPU_REFUSAL = "can't allocate memory"  # torch's own allocator on the CPU raises a RuntimeError with these words


class PassBudget:
    """Most pixels of a forward pass; halved for good when memory ran out."""

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self.last_shape = torch.Size((1, 3, 1, 1))

    def inputs(self, height: int, width: int) -> int:
        """Return how many inputs of a size may run together, at least one."""
        return max(1, self.pixels // (height * width))

    def run(self, network: Callable[[Tensor], Tensor], inputs_NCHW: Tensor) -> Tensor:
        """Return the logits of inputs, run together or, where the budget asks for it, in several passes."""
        parts = inputs_NCHW.split(self.inputs(*inputs_NCHW.shape[2:]))
        self.last_shape = parts[0].shape
        found = [network(part) for part in parts]
        return found[0] if len(found) == 1 else torch.cat(found)

    def halve(self) -> bool:
        """Allow half as many inputs as ran last; return False if that was one alone."""
        inputs, _, height, width = self.last_shape
        if inputs == 1:
            return False
        self.pixels = inputs // 2 * height * width
        log.warning("out of memory: forward passes of at most %.2f megapixels from now on", self.pixels / 1e6)
        return True


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error means that memory ran out, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or CPU_REFUSAL in str(error)


def release_memory() -> None:
    """Give back what torch holds for later use, once nothing refers to the tensors of the failed pass any more."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
