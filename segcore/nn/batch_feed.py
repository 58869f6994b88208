"""From a loader's batches to batches on the device, label maps as class indices.

Label maps leave the loading workers as uint8, an eighth of what losses need. To a GPU everything goes through pinned
memory on a stream of its own, while the device still works on the batch before.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from mmseg.structures import SegDataSample
from torch import Tensor


def on_device(batches: Iterable[Any], device: str) -> Generator[Any]:
    """Yield batches of any nesting of dicts, lists and mmengine's data elements, every tensor on "cpu" or "cuda"."""
    copying = torch.cuda.Stream() if device == "cuda" else None
    for batch in batches:
        moved = batch if copying is None else copied_to_cuda(batch, copying)
        for sample in samples_in(moved):
            if "gt_sem_seg" in sample:
                sample.gt_sem_seg.data = sample.gt_sem_seg.data.long()
        yield moved


def copied_to_cuda(batch: Any, copying: torch.cuda.Stream) -> Any:
    """Return a batch on the GPU; the current stream waits for the copies, this process does not."""
    current = torch.cuda.current_stream()
    with torch.cuda.stream(copying):
        moved = mapped(batch, lambda tensor: tensor.pin_memory().to("cuda", non_blocking=True))
    current.wait_stream(copying)
    mapped(moved, lambda tensor: recorded(tensor, current))
    return moved


def recorded(tensor: Tensor, stream: torch.cuda.Stream) -> Tensor:
    """Note that a tensor is used on a stream: its memory must not be given away before."""
    tensor.record_stream(stream)
    return tensor


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a batch with every tensor changed; data elements are changed in place."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: mapped(item, change) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mapped(item, change) for item in value]
    if isinstance(value, BaseDataElement):
        for name, item in value.items():
            setattr(value, name, mapped(item, change))
    return value


def samples_in(value: Any) -> Iterator[SegDataSample]:
    """Yield the samples anywhere in a batch."""
    if isinstance(value, SegDataSample):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from samples_in(item)
