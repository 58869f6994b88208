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

    calls: how often each module ran. inputs: for each call of a module, the convolution whose output, unchanged, was
    its input, else None.
    """

    calls: dict[nn.Module, int] = field(default_factory=dict)
    inputs: dict[nn.Module, list[nn.Module | None]] = field(default_factory=dict)

    def sources(self, module: nn.Module) -> list[nn.Module]:
        """Return the convolutions that feed a module, one for each of its calls; none if anything else feeds it."""
        found = [source for source in self.inputs[module] if source is not None and self.calls[source] == 1]
        return found if len(found) == self.calls[module] else []


def observe(network: nn.Module, run: Callable[[], Any], kinds: tuple[type[nn.Module], ...]) -> Wiring:
    """Return how the layers of a network are wired. run: a forward pass of it. kinds: what counts as convolution."""
    wiring = Wiring()
    produced: dict[int, tuple[nn.Module, Tensor, int]] = {}  # holds the tensors, so that their ids stay theirs

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        wiring.calls[module] = wiring.calls.get(module, 0) + 1
        convolution, tensor, version = produced.get(id(inputs[0]) if inputs else 0, (None, None, 0))
        unchanged = tensor is not None and tensor._version == version
        wiring.inputs.setdefault(module, []).append(convolution if unchanged else None)

    def after(module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        if isinstance(module, kinds):
            produced[id(output)] = (module, output, output._version)

    with watched(network, kinds, before, after), torch.no_grad():
        run()
    return wiring


@contextmanager
def watched(
    network: nn.Module, kinds: tuple[type[nn.Module], ...], before: Callable[..., None], after: Callable[..., None]
) -> Iterator[None]:
    """Call before and after around every call of an innermost module or one of some kinds, for a while."""
    leaves = [module for module in network.modules() if isinstance(module, kinds) or not list(module.children())]
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
        for name, child in list(parent._modules.items()):  # named_children() gives only the first of its names
            if child is old:
                setattr(parent, name, new)
