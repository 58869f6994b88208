"""One training on several GPUs: a process each takes its share of every batch; gradients are averaged before a step.

torch's DistributedDataParallel does the same beside a network's forward pass. Here a step may call parts of a network,
several times (segcore/nn/train_step.py), and leave parameters without gradient, so gradients are averaged on their
own, in one message. Decisions travel over the CPU, which the GPUs do not wait for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, nn
from torch import distributed as dist

WAIT = timedelta(minutes=30)  # for the slowest of them, e.g. while the first writes a large checkpoint
SEEDS_APART = 1 << 40  # more than any seed of an iteration


@dataclass(frozen=True)
class Ranks:
    """Who shares a training. rank: which of them this process is; 0 leads: it alone writes. count: 1 when alone.

    device: "cpu" or "cuda", of the tensors. words: the group that decisions travel in; None: as tensors do.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"
    words: dist.ProcessGroup | None = None

    @property
    def leads(self) -> bool:
        """Return whether this process writes checkpoints, logs and weights."""
        return self.rank == 0

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one device by their means over all processes, in place, in one message."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        dist.all_reduce(flat)
        parts = (flat / self.count).split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def told(self, value: int) -> int:
        """Return the value that the leading process has."""
        if self.count == 1:
            return value
        said = torch.tensor([value], dtype=torch.int64)
        dist.broadcast(said, src=0, group=self.words)
        return int(said)

    def share(self, size: int) -> range:
        """Return the places in a batch of a size that this process sees: every count-th, so that all see every kind."""
        return range(self.rank, size, self.count)

    def seed(self, seed: int) -> int:
        """Return this process's own seed where all have been given the same."""
        return seed + self.rank * SEEDS_APART

    def with_common_statistics(self, network: nn.Module) -> None:
        """Let batch norm use the statistics of the whole batch. On a CPU, where torch cannot, each has its share's.

        No group is named to the layers: it could not be copied with the network, for averaged weights.
        """
        if self.count > 1 and self.device == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(network)


ALONE = Ranks()


def joined(rank: int, count: int, meeting: Path, device: str) -> Ranks:
    """Meet the other processes in a file and return this one's place among them. device: "cpu" or "cuda"."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine, whatever its name resolves to
    store = dist.FileStore(str(meeting), count)  # type: ignore[attr-defined]  # public, not in __all__
    gpu = torch.device("cuda", 0) if device == "cuda" else None  # the only one that this process sees
    backend = "gloo" if gpu is None else "nccl"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=WAIT, device_id=gpu)
    words = None if gpu is None else dist.new_group(backend="gloo", timeout=WAIT)
    return Ranks(rank, count, device, words)


def leave() -> None:
    """End the connections to the other processes, if there are any."""
    if dist.is_initialized():
        dist.destroy_process_group()
