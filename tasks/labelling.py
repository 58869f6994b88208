"""The labelling processes that tasks share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from segcore.process.labeller import labellers


@contextlib.contextmanager
def labelling() -> Iterator[None]:
    """End the labelling processes at the block's end, so that training gets the device back."""
    try:
        yield
    finally:
        labellers.close()
