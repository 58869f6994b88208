"""Training: our program against plain mmsegmentation's runner, same model, start weights, samples and schedule.

Both train at the same time and take turns, a block of iterations each, in an order that alternates.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import describe
from benchmarks.label import PHOTOS, device_name
from benchmarks.label_weights import CONFIG, data_settings
from benchmarks.page import ROOT, write_page
from benchmarks.train_mmseg import write_data
from benchmarks.train_page import page
from benchmarks.train_ways import OURS, THEIRS, THEIRS_AMP, Block, Contestant, Setting
from segcore.process.jobs import TrainJob
from segcore.records import LABELLED_ROLES
from segcore.steps.index import index_images
from segcore.steps.places import student_place
from segcore.steps.run import open_run
from segcore.steps.train import TrainSpec, train_job

MODELS = ROOT / "benchmarks" / "models"
RESULT_NAMES = {"cpu": "train", "cuda": "train-cuda"}
WAYS = {"cpu": (OURS, THEIRS), "cuda": (OURS, THEIRS, THEIRS_AMP)}


@dataclass(frozen=True)
class Case:
    """A training to measure. settings: what its run sets besides the data, as FIELD=VALUE. start: weights, for people.

    seeds: trainings; with several of them loss curves are compared. block: iterations between turns; blocks: of each
    training, the first of which is not timed.
    """

    title: str
    settings: tuple[str, ...]
    start: str
    seeds: int
    block: int
    blocks: int


def random_start(preset: str, *settings: str) -> tuple[str, ...]:
    """Return the settings of a preset whose published weights need not be on this machine."""
    return (f"model.preset={preset}", "model.weights=null", "model.head_channels=null", *settings)


LITE = ("model.preset=efficientnet_lite0_upernet",)
SMALL, LARGE = ("train.size=128", "train.batch_size=4"), ("train.size=512", "train.batch_size=8")
IMAGENET, RANDOM = "ImageNet weights", "random weights"
CASES: dict[str, dict[str, Case]] = {
    "cpu": {
        "lite0": Case("EfficientNet-Lite0-UPer, 8 × 128 px", (*LITE, "train.size=128"), IMAGENET, 3, 10, 10),
        "lite0-224": Case("EfficientNet-Lite0-UPer, 8 × 224 px", (*LITE, "train.size=224"), IMAGENET, 1, 5, 6),
        "swin_tiny": Case("Swin-T-UPer, 4 × 128 px", random_start("swin_tiny_upernet", *SMALL), RANDOM, 1, 2, 6),
        "convnext_tiny": Case(
            "ConvNeXt-T-UPer, 4 × 128 px", random_start("convnext_tiny_upernet", *SMALL), RANDOM, 1, 2, 6
        ),
    },
    "cuda": {
        "lite0": Case("EfficientNet-Lite0-UPer, 8 × 512 px", (*LITE, *LARGE), IMAGENET, 3, 50, 8),
        "swin_tiny": Case("Swin-T-UPer, 8 × 512 px", random_start("swin_tiny_upernet", *LARGE), RANDOM, 1, 20, 6),
        "convnext_tiny": Case(
            "ConvNeXt-T-UPer, 8 × 512 px", random_start("convnext_tiny_upernet", *LARGE), RANDOM, 1, 20, 6
        ),
    },
}


@click.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--case", "names", multiple=True, help="Of lite0, swin_tiny …; may be repeated. All by default.")
@click.option("--data", type=click.Path(path_type=Path), default=PHOTOS, help="Folder of the photos (garbage6).")
@click.option("--threads", default=os.cpu_count(), show_default=True, help="Of torch, in both ways.")
@click.option("--notes", type=click.Path(path_type=Path, exists=True), help="Markdown to put at the end of the page.")
@click.option("--name", help="Ends the names of the result files: train, or train-cuda.")
def train(device: str, names: tuple[str, ...], data: Path, threads: int, notes: Path | None, name: str | None) -> None:
    """Measure trainings on real photos by both ways; write JSON and Markdown."""
    if not (data / "train.json").is_file():
        raise click.ClickException(f"{data}: must be the folder of garbage6, with train.json and val.json; give --data")
    if unknown := set(names) - set(CASES[device]):
        raise click.ClickException(f"--case must be of {', '.join(CASES[device])} on {device}, got {sorted(unknown)}")
    result: dict[str, Any] = {"environment": describe(), "device": device_name(device), "threads": threads}
    result |= {"load_before": os.getloadavg()[0], "cases": {}}
    for case_name in names or CASES[device]:
        click.echo(f"{case_name} …", err=True)
        result["cases"][case_name] = measure(CASES[device][case_name], data, device, threads)
    result |= {"load_after": os.getloadavg()[0], "notes": notes.read_text(encoding="utf-8") if notes else ""}
    write_page(name or RESULT_NAMES[device], result, page)


def measure(case: Case, data: Path, device: str, threads: int) -> dict[str, Any]:
    """Return everything measured of a case."""
    with prepared(case, data, device) as (job, folder):
        trainings = [
            compared(seeded(job, seed, folder / f"seed_{seed}"), folder / "data", case, threads)
            for seed in range(case.seeds)
        ]
        return {
            "title": case.title,
            "start": case.start,
            "num_images": len(job.ground_truth),
            "batch_size": job.train.batch_size,
            "size": job.train.size,
            "block": case.block,
            "trainings": trainings,
        }


@contextmanager
def prepared(case: Case, data: Path, device: str) -> Iterator[tuple[TrainJob, Path]]:
    """Give a job on all labelled photos and a folder for its files, with mmseg's data set in it."""
    with tempfile.TemporaryDirectory(prefix="train-") as name:
        folder = Path(name)
        settings = (*data_settings(data), "train.workers=null", *case.settings, f"runtime.device={device}")
        settings += (f"train.iterations={case.block * case.blocks}", f"runtime.artifacts={folder}")
        with open_run(str(CONFIG), "train", overrides=settings) as run:
            spec = TrainSpec(run, index_images(run), 0, None, None, student_place(0), tuple(LABELLED_ROLES))
            job = train_job(spec, (), folder, folder)
            write_data(job, folder / "data")
            yield job, folder


def seeded(job: TrainJob, seed: int, folder: Path) -> TrainJob:
    """Return a job with a seed, folders and start weights of its own; both ways begin with the very same weights."""
    import torch

    from segcore.nn.networks import build_student, model_config

    (folder / "out").mkdir(parents=True)
    torch.manual_seed(seed)
    network = build_student(job.model, model_config(job.model, job.train.size))
    start = folder / "start.pth"
    torch.save({"state_dict": network.state_dict()}, start)
    return replace(
        job, seed=seed, resume_dir=str(folder / "resume"), out_dir=str(folder / "out"), init_weights=str(start)
    )


def compared(job: TrainJob, data: Path, case: Case, threads: int) -> dict[str, Any]:
    """Train by all ways in turns; return seconds and losses by way and block, and how long each took to begin."""
    folder = Path(job.out_dir).parent
    with ExitStack() as stack:
        ways: dict[str, Contestant] = {}
        for way in WAYS["cpu" if job.device == "cpu" else "cuda"]:
            setting = Setting(way, job, data, case.block, threads, folder / way.replace(" ", ""))
            ways[way] = stack.enter_context(Contestant(setting))
        blocks: dict[str, list[Block]] = {way: [] for way in ways}
        for number in range(case.blocks):
            for way in list(ways)[:: 1 if number % 2 else -1]:
                blocks[way].append(ways[way].block())
        return {way: figures(ways[way], found) for way, found in blocks.items()}


def figures(way: Contestant, blocks: Sequence[Block]) -> dict[str, Any]:
    """Return a training's figures as JSON."""
    return {
        "start_s": way.start_s,
        "wall_s": [block.wall_s for block in blocks],
        "cpu_s": [block.cpu_s for block in blocks],
        "losses": [loss for block in blocks for loss in block.losses],
    }
