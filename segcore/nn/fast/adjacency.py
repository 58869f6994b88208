"""Which module feeds which, seen in one forward pass: source code need not be understood to fuse two layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class Wiring:
    """What one forward pass showed.

    calls: how often each module ran. sources: for each call of a module, the convolution whose output, unchanged,
    was its input, else None.
    """

    calls: dict[nn.Module, int] = field(default_factory=dict)
    sources: dict[nn.Module, list[nn.Conv2d | None]] = field(default_factory=dict)

    def only_source(self, module: nn.Module) -> nn.Conv2d | None:
        """Return the convolution that feeds a module where both run exactly once."""
        convolution = self.sources[module][0] if self.calls.get(module) == 1 else None
        return convolution if convolution is not None and self.calls[convolution] == 1 else None


def observe(network: nn.Module, run: Callable[[], Any]) -> Wiring:
    """Return how the layers of a network are wired. run: a forward pass of it."""
    wiring = Wiring()
    produced: dict[int, tuple[nn.Conv2d, Tensor, int]] = {}  # holds the tensors, so that their ids stay theirs

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        wiring.calls[module] = wiring.calls.get(module, 0) + 1
        convolution, tensor, version = produced.get(id(inputs[0]) if inputs else 0, (None, None, 0))
        unchanged = tensor is not None and tensor._version == version
        wiring.sources.setdefault(module, []).append(convolution if unchanged else None)

    def after(module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, nn.Conv2d):
            produced[id(output)] = (module, output, output._version)

    with watched(network, before, after), torch.no_grad():
        run()
    return wiring


@contextmanager
def watched(network: nn.Module, before: Callable[..., None], after: Callable[..., None]) -> Iterator[None]:
    """Call before and after around every call of a module, for a while."""
    leaves = [m for m in network.modules() if isinstance(m, nn.Conv2d) or not list(m.children())]
    hooks = [leaf.register_forward_pre_hook(before) for leaf in leaves]
    hooks += [leaf.register_forward_hook(after) for leaf in leaves]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put new in the place, or the places, of a module."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if child is old:
                setattr(parent, name, new)
