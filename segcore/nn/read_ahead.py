"""Images decoded ahead by threads, in order, a bounded number of them and a bounded number of bytes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segcore.data.images import probe_image, read_image
from segcore.errors import DataError
from segcore.process.jobs import PredictImage
from segcore.records import Quarantined

MAX_AHEAD = 32  # images
MAX_BYTES_AHEAD = 512 << 20  # of decoded pixels; one image alone may have more

Image = NDArray[np.uint8]
Decoded = tuple[PredictImage, Image | Quarantined]


@dataclass(frozen=True)
class Reader:
    """How images are read. num_threads: how many at once."""

    max_megapixels: float
    num_threads: int

    def read(self, image: PredictImage) -> Decoded:
        """Return one image's (H, W, 3) uint8 BGR pixels, or why there are none."""
        try:
            return image, read_image(Path(image.path), self.max_megapixels)
        except (DataError, OSError) as error:
            return image, Quarantined(image.image_id, str(error))

    def ahead(self, images: Sequence[PredictImage]) -> Generator[Decoded, None, None]:
        """Yield images in order, the next ones being decoded meanwhile."""
        room = Room(MAX_BYTES_AHEAD)
        waiting: deque[tuple[int, Future[Decoded]]] = deque()
        pool = ThreadPoolExecutor(self.num_threads)
        try:
            for turn, image in enumerate(images):
                waiting.append((turn, pool.submit(self.read_in_turn, room, turn, image)))
                if len(waiting) > MAX_AHEAD:
                    yield room.taken_out(*waiting.popleft())
            while waiting:
                yield room.taken_out(*waiting.popleft())
        finally:
            room.open_wide()
            pool.shutdown(cancel_futures=True)

    def read_in_turn(self, room: Room, turn: int, image: PredictImage) -> Decoded:
        """Read an image once there is room for as many bytes as its header says."""
        try:
            header = probe_image(Path(image.path), self.max_megapixels)
        except (DataError, OSError) as error:
            return image, Quarantined(image.image_id, str(error))
        room.enter(turn, 3 * header.width * header.height)
        return self.read(image)


class Room:
    """Bytes of images that are decoded and not yet asked for."""

    def __init__(self, num_bytes: int) -> None:
        self.left = num_bytes
        self.due: float = -1  # the turn that is asked for; it is let in whether there is room or not
        self.inside: dict[int, int] = {}
        self.changed = threading.Condition()

    def enter(self, turn: int, num_bytes: int) -> None:
        """Wait for room, or until it is this turn that the others wait for."""
        with self.changed:
            self.changed.wait_for(lambda: turn <= self.due or num_bytes <= self.left)
            self.left -= num_bytes
            self.inside[turn] = num_bytes

    def taken_out(self, turn: int, future: Future[Decoded]) -> Decoded:
        """Return the image of a turn, which makes room for others."""
        with self.changed:
            self.due = turn
            self.changed.notify_all()
        decoded = future.result()
        with self.changed:
            self.left += self.inside.pop(turn, 0)
            self.changed.notify_all()
        return decoded

    def open_wide(self) -> None:
        """Let everybody in, for good: nobody will ask for images any more."""
        with self.changed:
            self.due = float("inf")
            self.changed.notify_all()
