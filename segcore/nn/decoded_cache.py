"""Decoded examples in a file without a name that loading workers share: each image is decoded once, not once a worker.

The file is gone with the last process that has it open, however that ends, so nothing in it is ever trusted by
another training. Its pages are the system's to keep in memory or to write out.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np

from segcore.nn.augment.example import Example

HEADER = np.dtype([("height", "<i4"), ("width", "<i4"), ("layers", "<i4")])  # layers: bytes a pixel; 0: nothing here
IMAGE_LAYERS, MOST_LAYERS = 3, 5
MOST_BYTES = 16 << 30
DISK_SHARE = 0.1  # of what is free at the beginning


class DecodedCache:
    """Examples by index, each at most longer_px high and wide, as long as they fit into max_bytes together.

    folder: on the disk to use, made if need be; None: where temporary files go. max_bytes: None for a share of the
    free disk, which num_sharing trainings at once divide. Slots have a fixed place and size; what is not written takes
    no disk.
    """

    def __init__(
        self, num_examples: int, longer_px: int, folder: Path | None, max_bytes: int | None = None, num_sharing: int = 1
    ) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        self.descriptor, path = tempfile.mkstemp(dir=folder)
        Path(path).unlink()
        weakref.finalize(self, os.close, self.descriptor)
        self.num_examples = num_examples
        self.slot_bytes = HEADER.itemsize + longer_px * longer_px * MOST_LAYERS
        free = shutil.disk_usage(folder or tempfile.gettempdir()).free
        self.max_bytes = min(MOST_BYTES, int(free * DISK_SHARE)) // num_sharing if max_bytes is None else max_bytes

    def get(self, index: int) -> Example | None:
        """Return an example, its arrays read-only; None if it is not here."""
        start = index * self.slot_bytes
        header = os.pread(self.descriptor, HEADER.itemsize, start)
        if len(header) < HEADER.itemsize:
            return None
        height, width, layers = (int(value) for value in np.frombuffer(header, HEADER)[0])
        if layers == 0:
            return None
        size = height * width
        data = os.pread(self.descriptor, size * layers, start + HEADER.itemsize)
        pixels = np.frombuffer(data, np.uint8)
        image = pixels[: size * IMAGE_LAYERS].reshape(height, width, IMAGE_LAYERS)
        return Example(image, *pixels[size * IMAGE_LAYERS :].reshape(-1, height, width))

    def put(self, index: int, example: Example) -> None:
        """Keep an example, if there is room. Two workers may do so at once: both write the same."""
        num_bytes = sum(array.nbytes for array in example.arrays)
        if os.fstat(self.descriptor).st_blocks * 512 + num_bytes > self.max_bytes:
            return
        start = index * self.slot_bytes
        layers = num_bytes // (example.height * example.width)
        header = np.array((example.height, example.width, layers), HEADER)
        try:
            write_all(self.descriptor, b"".join(array.tobytes() for array in example.arrays), start + HEADER.itemsize)
            write_all(self.descriptor, header.tobytes(), start)  # last: now it counts
        except OSError:  # the disk is full
            self.max_bytes = 0

    def __len__(self) -> int:
        """Return how many examples are here."""
        return sum(self.get(index) is not None for index in range(self.num_examples))


def write_all(descriptor: int, data: bytes, start: int) -> None:
    """Write data at a place in a file."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, start)
        rest, start = rest[written:], start + written
