"""The shards of one labelling counted together: reported while it runs, one log line at its end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from segcore.progress import LabelProgress, report

logger = logging.getLogger(__name__)


class LabellingTally:
    """How far a labelling is. Its shards may be worked on by several threads.

    place: e.g. "round_01/labels". sizes: images by shard_index. The time counts from the first group of images that is
    given to a model, so that loading the model is no part of the rate.
    """

    def __init__(self, place: str, sizes: Mapping[int, int], clock: Callable[[], float] = time.monotonic) -> None:
        self.place = place
        self.sizes = dict(sizes)
        self.clock = clock
        self.lock = threading.Lock()
        self.started_s: float | None = None
        self.num_done: dict[int, int] = {}  # images by shard_index
        self.reused: dict[int, bool] = {}  # by shard_index, of finished shards

    @property
    def complete(self) -> bool:
        """Return whether every shard is done."""
        return self.reused.keys() >= self.sizes.keys()

    def progressed(self, shard_index: int, num_done: int) -> None:
        """Note how many images of a shard are done."""
        with self.lock:
            if self.started_s is None:
                self.started_s = self.clock()
            self.num_done[shard_index] = num_done
            progress = self.progress()
        report(progress)

    def finished(self, shard_index: int, reused: bool) -> None:
        """Note that a shard is done; log how the labelling went when it is the last."""
        with self.lock:
            self.num_done[shard_index] = self.sizes[shard_index]
            self.reused[shard_index] = reused
            progress, complete = self.progress(), self.complete
        report(progress)
        if complete:
            logger.info("%s", line_of(progress))

    def progress(self) -> LabelProgress:
        """Return how far the labelling is now."""
        reused = [shard for shard, was_there in self.reused.items() if was_there]
        num_done = sum(self.num_done.values())
        return LabelProgress(
            place=self.place,
            num_images=sum(self.sizes.values()),
            num_done=num_done,
            num_new=num_done - sum(self.sizes[shard] for shard in reused),
            num_shards=len(self.sizes),
            num_shards_done=len(self.reused),
            num_shards_reused=len(reused),
            seconds=0.0 if self.started_s is None else self.clock() - self.started_s,
        )


def line_of(progress: LabelProgress) -> str:
    """Return a finished labelling as one line for people."""
    rate = progress.images_per_s
    parts = [] if rate is None else [f"{rate:.1f} images/s"]
    if progress.num_shards_reused == progress.num_shards:
        parts = ["all reused"]
    elif progress.num_shards_reused:
        parts.append(f"{progress.num_shards_reused} shards reused")
    counts = f"{progress.num_images} images in {progress.num_shards} shards"
    return ", ".join([f"{progress.place}: {counts}", *parts])


tallies: dict[tuple[str, str], LabellingTally] = {}  # the newest, by run folder and place
tallies_lock = threading.Lock()


def labelling_tally(folder: str, place: str, sizes: Mapping[int, int]) -> LabellingTally:
    """Return the tally that all shards of a labelling share; a new one once the last was complete."""
    with tallies_lock:
        if (folder, place) not in tallies or tallies[folder, place].complete:
            tallies[folder, place] = LabellingTally(place, sizes)
        return tallies[folder, place]
