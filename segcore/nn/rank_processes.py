"""The processes of a training on several GPUs: one leads, starts the others, watches them and waits for their end.

All run the same program on the same job. None outlives the leading one: its supervisor ends the whole tree.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segcore.errors import ConfigError
from segcore.process.gpus import num_gpus

EXPLAIN_S = 20.0  # a lost connection is felt at once, the end of the process behind it a little later
LEAVE_S = 60.0


@dataclass(frozen=True)
class Place:
    """Which of a training's processes this is. meeting: the file by which they find each other."""

    rank: int
    count: int
    meeting: Path
    device: str

    def arguments(self) -> list[str]:
        """Return what parsed_arguments makes this of."""
        named = {"rank": self.rank, "count": self.count, "meeting": self.meeting, "device": self.device}
        return [f"--{name}={value}" for name, value in named.items()]


def parsed_arguments(arguments: Sequence[str]) -> tuple[Path, Place | None]:
    """Return the job file, and the place that the leading process gave this one; None: this one leads."""
    parser = ArgumentParser(prog="segcore.nn.train_process")
    parser.add_argument("job_path", type=Path)
    parser.add_argument("--rank", type=int)
    parser.add_argument("--count", type=int)
    parser.add_argument("--meeting", type=Path)
    parser.add_argument("--device")
    found = parser.parse_args(arguments)
    placed = found.rank is not None
    return found.job_path, Place(found.rank, found.count, found.meeting, found.device) if placed else None


def devices_of(device: str, count: int) -> list[str]:
    """Return the device of each process of a training: a GPU each, or the CPU for all where there is no GPU.

    device: runtime.device. ConfigError where it names one GPU for several, or there are fewer GPUs than processes.
    """
    if count == 1 or device == "cpu":
        return [device] * count
    if device.startswith("cuda:"):
        raise ConfigError(
            f"train.gpus is {count}, and runtime.device names one GPU, {device}; set runtime.device to auto or cuda, "
            "and CUDA_VISIBLE_DEVICES to the GPUs that may be used"
        )
    found = num_gpus()
    if found == 0 and device == "auto":
        return ["cpu"] * count
    if found < count:
        raise ConfigError(f"train.gpus is {count}, and torch sees {found}; set train.gpus to {max(found, 1)}")
    return [f"cuda:{rank}" for rank in range(count)]


@contextlib.contextmanager
def others(job_path: Path, devices: Sequence[str], environment: Mapping[str, str]) -> Iterator[Place | None]:
    """Have the other processes of a training run for the block; yield the leading one's place, None if it is alone.

    One that fails ends this process too, with its exit status: they can only go on together. environment: what all
    were started with, GPUs not yet hidden. They meet beside the job file, which goes once the training is published.
    """
    count = len(devices)
    if count == 1:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="meeting.", dir=job_path.parent) as folder:
        meeting = Path(folder) / "meeting"
        first, *rest = (Place(rank, count, meeting, device) for rank, device in enumerate(devices))
        watched = [Watched(job_path, place, environment) for place in rest]
        try:
            yield first
        except Exception:
            for other in watched:
                other.thread.join(EXPLAIN_S / len(watched))  # ends this process if the other one is the reason
            raise
        for other in watched:
            with contextlib.suppress(subprocess.TimeoutExpired):  # the supervisor ends it
                other.process.wait(LEAVE_S)


class Watched:
    """One of the other processes, and a thread that waits for its end."""

    def __init__(self, job_path: Path, place: Place, environment: Mapping[str, str]) -> None:
        self.rank = place.rank
        command = [sys.executable, "-m", "segcore.nn.train_process", str(job_path), *place.arguments()]
        self.process = subprocess.Popen(command, env=dict(environment))
        self.thread = threading.Thread(target=self.watch, name=f"rank {self.rank}", daemon=True)
        self.thread.start()

    def watch(self) -> None:
        """Wait for the process; end this one with its status where that is a failure."""
        code = self.process.wait()
        if code != 0:
            status = code if code > 0 else 128 - code
            sys.stderr.write(f"process {self.rank} of this training ended with exit code {status}\n")
            sys.stderr.flush()
            os._exit(status)
