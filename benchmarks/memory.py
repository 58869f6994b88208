"""Whether the labelling process keeps its memory flat over ten thousand images of mixed sizes."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np

from benchmarks.environment import describe
from benchmarks.page import last_lines, write_page
from segcore.config.label_schema import LabelConfig
from segcore.nn.devices import be_a_good_neighbour
from segcore.nn.known_warnings import silence_known_warnings
from segcore.process.jobs import ModelSpec, PredictImage, PredictJob, TeacherFiles
from segcore.process.labeller import Labeller, LabellerSpec
from segcore.process.supervisor import descendants

SIDES_PX = (96, 192)  # least and most, of height and of width
PER_SHARD = 500
NUM_CLASSES = 7
GOAL_RATIO = 1.1
CAVEATS = """Read with care. One run; drawn photos of {low} to {high} px a side, height and width drawn anew for each,
and a small network from random weights (views of {views} px): what is measured is whether memory grows, not how much a
large model needs. The process is the one that labels in a run, asked for shards of {per_shard} images as a run asks;
sizes are those of /proc/PID/status, its code and libraries included."""


@dataclass
class Watch:
    """What the labelling process held each time it told its progress: images done, MB resident, MB at the most."""

    labeller: Labeller
    done_before: int = 0
    samples: list[tuple[int, float, float]] = field(default_factory=list)

    def progressed(self, done: int) -> None:
        """Look at the process."""
        assert self.labeller.child is not None, "it has just spoken"
        sizes = [memory_of(pid) for pid in descendants(self.labeller.child.started.pid)]
        self.samples.append((self.done_before + done, *max(sizes)))


@click.command()
@click.option("--images", type=click.IntRange(min=200), default=10_000, show_default=True)
@click.option("--size", default=64, show_default=True, help="Longer side of the views, px.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def memory(images: int, size: int, device: str) -> None:
    """Label drawn images shard by shard and follow the resident memory of the process that does it."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        samples = measure(Path(folder), images, LabelConfig(sizes=(size,)), device)
    result = {"environment": describe(), "device": device, "images": images, "size": size}
    result |= {"seconds": time.monotonic() - started, "samples": samples}
    write_page("memory", result, page)


def measure(folder: Path, num_images: int, views: LabelConfig, device: str) -> list[tuple[int, float, float]]:
    """Label num_images drawn images with a small network; return (images done, MB resident, MB at most) on the way."""
    be_a_good_neighbour()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:  # keeps torch out of this process
        pool.submit(write_network, folder).result()
    images = draw_images(folder, num_images)
    teacher = TeacherFiles(str(folder / "model.pth"), str(folder / "model_config.py"))
    job = PredictJob((teacher,), NUM_CLASSES, views, device, expected_images=num_images)
    labeller = Labeller(LabellerSpec(job, folder / "label.log", (), 20.0, 600.0, 2, lambda: False))
    watch = Watch(labeller)
    try:
        for first in range(0, num_images, PER_SHARD):
            shard = images[first : first + PER_SHARD]
            if quarantined := labeller.predict(shard, folder / f"from_{first:05d}.parquet", watch.progressed):
                raise click.ClickException(f"drawn images must be labelled, got {quarantined[0]}")
            watch.done_before += len(shard)
            watch.progressed(0)
    finally:
        labeller.close()
    return watch.samples


def write_network(folder: Path) -> None:
    """Write the preset with a narrow head, its weights as they are before a training."""
    silence_known_warnings()
    from segcore.nn.networks import build_student, model_config
    from segcore.nn.student_files import write_student

    names = tuple(f"class {index}" for index in range(NUM_CLASSES))
    spec = ModelSpec("efficientnet_lite0_upernet", None, None, 16, names, ((0, 0, 0),) * NUM_CLASSES)
    config = model_config(spec, SIDES_PX[0])
    write_student(folder, build_student(spec, config), config, spec)


def draw_images(folder: Path, num_images: int) -> list[PredictImage]:
    """Draw images of smooth noise, each of a size of its own."""
    rng = np.random.default_rng(0)
    images = []
    for index in range(num_images):
        height, width = (int(side) for side in rng.integers(*SIDES_PX, 2, endpoint=True))
        coarse = rng.integers(0, 256, (6, 8, 3), np.uint8)
        path = folder / f"{index:05d}.jpg"
        cv2.imwrite(str(path), cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
        images.append(PredictImage(path.name, str(path)))
    return images


def memory_of(pid: int) -> tuple[float, float]:
    """Return what a process has in memory and the most it ever had, in MB; nothing when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0, 0.0
    sizes = dict(line.split(":", 1) for line in lines)
    now_kb, most_kb = (int(sizes.get(name, "0 kB").split()[0]) for name in ("VmRSS", "VmHWM"))
    return now_kb / 1024, most_kb / 1024


def milestones(samples: list[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    """Return the first sample from 100, 1000, 10,000 … images on, and the last one."""
    last = samples[-1][0]
    wanted = [10**power for power in range(2, 12) if 10**power < last]
    return [*(next(sample for sample in samples if sample[0] >= number) for number in wanted), samples[-1]]


def page(result: Any, stamp: str) -> str:
    """Return the result as a page."""
    found = milestones(result["samples"])
    first, last = found[0][1], found[-1][1]
    ratio = last / first
    reached = "reached" if ratio <= GOAL_RATIO else "NOT reached"
    caveats = CAVEATS.format(low=SIDES_PX[0], high=SIDES_PX[1], views=result["size"], per_shard=PER_SHARD)
    lines = [
        f"# Memory of the labelling process over {result['images']:,} images, {stamp}",
        "",
        caveats,
        "",
        "| images labelled | resident, MB | by that after the first line's | most so far, MB |",
        "|---|---|---|---|",
        *(f"| {done:,} | {resident:.0f} | {resident / first:.3f} | {most:.0f} |" for done, resident, most in found),
        "",
        f"- {ratio:.3f} times what it was after {found[0][0]:,} images: {reached} (goal: at most {GOAL_RATIO}).",
        "",
        f"On {result['device']}; {result['seconds']:.0f} s in all.",
        *last_lines(result["environment"], "memory"),
    ]
    return "\n".join(lines)
