"""The labelling processes that tasks share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from segcore.process.labellers import labellers

LABEL_THREADS = 16  # shards on their way: two for each of eight GPUs, so that none waits for its next


@contextlib.contextmanager
def labelling() -> Iterator[None]:
    """Let labelling processes live from step to step, and end them at the block's end."""
    try:
        yield
    finally:
        labellers.close()


def free_device() -> None:
    """End the labelling processes, so that a training gets the device and the memory."""
    labellers.close()
