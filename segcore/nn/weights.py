"""Weights from outside: tensors only, never pickled objects, with a report of what fitted.

mmengine's own loading falls back to full unpickling, which runs whatever the file says. Here a file is read by
safetensors or by torch.load(weights_only=True), or not at all. What mmengine keeps beside the weights of a training,
its log, is replaced by stand-ins that hold and do nothing.
"""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from segcore.errors import CheckpointError

log = logging.getLogger(__name__)

State = dict[str, Tensor]
NESTED_UNDER = ("state_dict", "model", "module")  # where common tools put the weights
PREFIXES = ("", "module.", "backbone.")  # data-parallel wrappers; backbones saved as part of a model
REBUILT = ("relative_position_index", "num_batches_tracked")  # tensors that say nothing of the training
LEAST_MATCHED = 0.5  # share of a model's tensors below which weights are refused as those of another network
KEPT_BY_MMENGINE = (  # what the log of a training is pickled with: values of NumPy, and a class with its methods
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
)
CONSEQUENCES = {
    "missing": "which start as they are initialised",
    "unexpected": "which the model has no place for",
    "reshaped": "which are of another shape there and not loaded",
}


class StandIn:
    """Takes the place of an object in a checkpoint that is not needed: takes anything, holds nothing, does nothing."""

    def __init__(self, *ignored: Any) -> None:
        pass

    def __setstate__(self, ignored: Any) -> None:
        pass


@dataclass(frozen=True)
class WeightReport:
    """How weights fitted a model, by name of tensor. missing: in the model only. unexpected: in the file only.

    reshaped: in both, with different shapes, so not loaded (a head for other classes).
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{len(self.matched)} tensors matched"]
        for word, consequence in CONSEQUENCES.items():
            if names := getattr(self, word):
                shown = f"{', '.join(names[:3])}{' …' if len(names) > 3 else ''}"
                parts.append(f"{len(names)} {word}, {consequence} ({shown})")
        return "; ".join(parts)


def load_foreign(path: Path) -> State:
    """Return the tensors of a checkpoint by name, on the CPU.

    path: a .safetensors file, or a file of torch.save holding a state dict, alone or under state_dict, model, module.
    Raises CheckpointError if it is missing, damaged, or holds anything but tensors and plain values.
    """
    if not path.is_file():
        raise CheckpointError(f"weights {path}: must be a file, but there is none; check model.weights")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            found = load_file(path) if path.suffix == ".safetensors" else load_tensors(path)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"weights {path}: must hold tensors only, but is damaged or holds Python objects, which could run code "
            f"({first_line(error)}). If you trust the file, save its weights alone: "
            "torch.save({'state_dict': torch.load(file, weights_only=False)['state_dict']}, new_file)"
        ) from None
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"weights {path}: cannot be read: {first_line(error)}; copy the file again") from None
    return tensors_of(found, path)


def load_tensors(path: Path) -> Any:
    """Return what torch.save wrote: tensors and plain values, and a StandIn for each object of KEPT_BY_MMENGINE."""
    with torch.serialization.safe_globals([(StandIn, name) for name in KEPT_BY_MMENGINE]):
        return torch.load(path, "cpu", weights_only=True)


def tensors_of(found: Any, path: Path) -> State:
    """Return the state dict in what a weights file held."""
    for name in NESTED_UNDER:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping):
        raise CheckpointError(f"weights {path}: must hold tensors by name, got {type(found).__name__}")
    state = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not state:
        raise CheckpointError(f"weights {path}: must hold tensors by name, found none")
    return state


def apply_weights(model: nn.Module, state: State, source: str) -> WeightReport:
    """Copy the tensors that fit into model and return what fitted.

    Names are tried as they are, without "module." and without "backbone."; the variant that fits best is taken.
    source: named in messages. Raises CheckpointError if less than half of the model's tensors are found.
    """
    variants = [{name.removeprefix(prefix): value for name, value in state.items()} for prefix in PREFIXES]
    reports = [compare(model, variant) for variant in variants]
    best = max(range(len(variants)), key=lambda index: len(reports[index].matched))
    report = reports[best]
    total = len(report.matched) + len(report.missing) + len(report.reshaped)
    if len(report.matched) < LEAST_MATCHED * total:
        raise CheckpointError(
            f"weights {source}: must fit the model, but only {len(report.matched)} of its {total} tensors are there "
            f"({report}); give the weights of this network, or null for random ones"
        )
    model.load_state_dict({name: variants[best][name] for name in report.matched}, strict=False)
    log.info("weights %s: %s", source, report)
    return report


def compare(model: nn.Module, state: State) -> WeightReport:
    """Return which tensors of state fit model by name and shape. Counters of batch norm are not counted as missing."""
    own = model.state_dict()
    both = [name for name in own if name in state]
    return WeightReport(
        matched=tuple(name for name in both if own[name].shape == state[name].shape),
        missing=tuple(name for name in own if name not in state and not name.endswith("num_batches_tracked")),
        unexpected=tuple(name for name in state if name not in own),
        reshaped=tuple(name for name in both if own[name].shape != state[name].shape),
    )


def bare_weights(model: nn.Module) -> State:
    """Return model's state dict as contiguous CPU tensors of their own, so that equal weights give equal files."""
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in model.state_dict().items()
    }


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message; torch's messages are essays."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
