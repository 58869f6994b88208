"""One labelling process a device: requests of one job go to whichever is free, and all are ended together."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from segcore.errors import CancelledError
from segcore.process.gpus import has_several_gpus, num_gpus
from segcore.process.jobs import PredictImage, PredictJob, Ready
from segcore.process.labeller import Labeller, LabellerSpec
from segcore.records import Quarantined

LOOK_S = 0.2

Devices = Callable[[str], tuple[str, ...]]


class Crew:
    """The labelling processes of one job, one a device, each started on its first request.

    predict() may be called from as many threads as there are devices or more: each request waits for a process that is
    free. The one that was used last is taken first, so that few requests load few models.
    """

    def __init__(self, spec: LabellerSpec, devices: Sequence[str]) -> None:
        deaths: Counter[str] = Counter()
        self.spec = spec
        self.members = tuple(Labeller(member_spec(spec, *member), deaths) for member in enumerate(devices))
        self.free: queue.LifoQueue[Labeller] = queue.LifoQueue()
        for member in reversed(self.members):
            self.free.put(member)

    def predict(
        self, images: Sequence[PredictImage], out: Path, on_progress: Callable[[int], None] | None = None
    ) -> list[Quarantined]:
        """Have the next free process write a Predictions file of images; see Labeller.predict."""
        labeller = self.next_free()
        try:
            return labeller.predict(images, out, on_progress)
        finally:
            self.free.put(labeller)

    def next_free(self) -> Labeller:
        """Wait for a process that nobody uses; CancelledError when the run is cancelled meanwhile."""
        while True:
            try:
                return self.free.get(timeout=LOOK_S)
            except queue.Empty:
                if self.spec.cancelled():
                    raise CancelledError("cancelled while waiting for a labelling process") from None

    @property
    def ready(self) -> Ready | None:
        """Return what a process said of its model; None before the first request."""
        return next((member.ready for member in self.members if member.ready is not None), None)

    def close(self) -> None:
        """End the processes."""
        for member in self.members:
            member.close()


def member_spec(spec: LabellerSpec, index: int, device: str) -> LabellerSpec:
    """Return what one process of several is started with: its device, and a log of its own."""
    log_path = spec.log_path if index == 0 else spec.log_path.with_name(f"process_{index}.{spec.log_path.name}")
    return replace(spec, job=replace(spec.job, device=device), log_path=log_path)


class Labellers:
    """The labelling processes of this process, by job. devices: tells which devices a name stands for."""

    def __init__(self, devices: Devices | None = None) -> None:
        self.devices = devices or labelling_devices
        self.lock = threading.Lock()
        self.open: dict[PredictJob, Crew] = {}

    def get(self, spec: LabellerSpec) -> Crew:
        """Return the processes of a job, made on first use."""
        with self.lock:
            if spec.job not in self.open:
                self.open[spec.job] = Crew(spec, self.devices(spec.job.device))
            return self.open[spec.job]

    def close(self) -> None:
        """End all labelling processes."""
        with self.lock:
            for crew in self.open.values():
                crew.close()
            self.open.clear()


def labelling_devices(device: str) -> tuple[str, ...]:
    """Return the devices to label on, a process each: of "auto" every visible GPU, else the one that is named.

    Where there are fewer than two GPUs, "auto" is left to the one process.
    """
    count = num_gpus() if device == "auto" and has_several_gpus() else 1
    return (device,) if count < 2 else tuple(f"cuda:{index}" for index in range(count))


labellers = Labellers()
