"""Labelling with test-time augmentation: our engine against mmsegmentation's own, same weights, images and threads.

Groups of photos go to both, one right after the other, in an order that alternates from group to group.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import describe
from benchmarks.label_page import page
from benchmarks.label_rates import matmul_rate, model_flops, profile
from benchmarks.label_ways import Contestant, Labelled, LabelMap, Setting
from benchmarks.label_weights import MODELS_BY_NAME, Trained, trained
from benchmarks.page import ROOT, write_page
from segcore.data.label_maps import LabelMaps
from segcore.trust.confusion import confusion_matrix, miou, present_classes

PHOTOS = ROOT.parent / "shared" / "data" / "garbage6"
OURS, THEIRS, THEIRS_BF16 = "segloop", "mmseg", "mmseg, bf16 autocast"
LEAST_GROUPS = 3
CASE_IMAGES = 819  # the pool of the team this project started from
DEVICE_MODELS: dict[str, tuple[str, ...]] = {
    "cpu": ("lite0", "mobilenetv2", "swin_tiny"),
    "cuda": tuple(MODELS_BY_NAME),
}
GROUP_IMAGES = {"cpu": 8, "cuda": 32}  # on 2 cores two lanes with four images each
RESULT_NAMES = {"cpu": "label", "cuda": "label-cuda"}
BUDGET_MINUTES = {"cpu": 9.0, "cuda": 2.0}


@dataclass(frozen=True)
class Effort:
    """How much is measured with a model. group: images between turns. case: images of one long labelling; 0: none."""

    group: int
    budget_s: float
    case: int


@click.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--model", "names", multiple=True, type=click.Choice(list(MODELS_BY_NAME)), help="May be repeated.")
@click.option("--data", type=click.Path(path_type=Path), default=PHOTOS, help="Folder of the photos (garbage6).")
@click.option("--threads", default=os.cpu_count(), show_default=True, help="Of torch and OpenCV, in both ways.")
@click.option("--budget-minutes", type=float, help="Of labelling; at least three groups a model. 9 on CPU, 2 on CUDA.")
@click.option("--expected-images", default=100_000, show_default=True, help="How many the engine prepares itself for.")
@click.option("--before", type=click.Path(path_type=Path, exists=True), help="JSON of an earlier result to show, too.")
@click.option("--notes", type=click.Path(path_type=Path, exists=True), help="Markdown to put at the end of the page.")
@click.option("--name", help="Ends the names of the result files: label, or label-cuda.")
@click.option("--train-only", is_flag=True, help="Train the weights and stop.")
def label(device: str, names: tuple[str, ...], data: Path, train_only: bool, **options: Any) -> None:
    """Measure labelling of real photos by both ways; write JSON and Markdown."""
    names = names or DEVICE_MODELS[device]
    models = {name: trained(name, data, device) for name in names}
    if train_only:
        return
    minutes = options["budget_minutes"] or BUDGET_MINUTES[device]
    effort = Effort(GROUP_IMAGES[device], 60 * minutes / len(names), CASE_IMAGES if device == "cuda" else 0)
    result: dict[str, Any] = {"environment": describe(), "device": device_name(device), "threads": options["threads"]}
    result |= {"expected_images": options["expected_images"], "load_before": os.getloadavg()[0], "models": {}}
    for name, model in models.items():
        click.echo(f"{name} …", err=True)
        setting = Setting(
            str(model.checkpoint), str(model.config), device, options["threads"], options["expected_images"]
        )
        result["models"][name] = measure(model, setting, effort)
    result |= {"load_after": os.getloadavg()[0], "before": None, "notes": ""}
    if options["before"]:
        result["before"] = json.loads(options["before"].read_text(encoding="utf-8"))
    if options["notes"]:
        result["notes"] = options["notes"].read_text(encoding="utf-8")
    write_page(options["name"] or RESULT_NAMES[device], result, page)


def device_name(device: str) -> str:
    """Return what people call the device; asked in a process of its own, which leaves no memory taken there."""
    if device == "cpu":
        return "CPU"
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return str(pool.submit(cuda_name).result())


def cuda_name() -> str:
    """Return the name of the CUDA device."""
    import torch

    return torch.cuda.get_device_name()


def measure(model: Trained, setting: Setting, effort: Effort) -> dict[str, Any]:
    """Return everything measured with one model. The first group goes to each way before the clock counts."""
    images = cycle(model.images)
    with ExitStack() as stack:
        ways = {name: stack.enter_context(Contestant(*way)) for name, way in contestants(setting).items()}
        first = list(islice(images, effort.group))
        warm_up = {name: way.label(first).wall_s for name, way in ways.items()}
        groups, maps = take_turns(ways, images, effort)
        ours = ways[OURS]
        return {
            "views": setting.views.model_dump(include={"sizes", "flip", "resize"}),
            "group_images": effort.group,
            "ways": {name: {**way.start, "warm_up_s": warm_up[name], "peak": way.peak()} for name, way in ways.items()},
            "groups": groups,
            "labels": compared(maps, model),
            "case": one_long_labelling(ours, images, effort.case),
            "flops_per_image": ours.ask(model_flops, setting.config, setting.views.sizes, setting.views.flip),
            "matmul_flops": ours.ask(matmul_rate, setting.device, ours.start["precision"]),
            "profile": ours.ask(profile, first, setting.device),
        }


def contestants(setting: Setting) -> dict[str, tuple[str, Setting]]:
    """Return the ways that are compared, by name; on CUDA mmseg gets autocast as well, which it does not use itself."""
    found = {OURS: (OURS, setting), THEIRS: (THEIRS, setting)}
    if setting.device == "cuda":
        found[THEIRS_BF16] = (THEIRS, replace(setting, baseline_precision="bf16"))
    return found


def take_turns(
    ways: Mapping[str, Contestant], images: Iterator[tuple[str, Path]], effort: Effort
) -> tuple[list[dict[str, Any]], dict[str, dict[str, LabelMap]]]:
    """Give group after group to all ways until the budget is spent; return seconds an image, and all label maps."""
    maps: dict[str, dict[str, LabelMap]] = {name: {} for name in ways}
    groups: list[dict[str, Any]] = []
    started = time.monotonic()
    while len(groups) < LEAST_GROUPS or time.monotonic() - started < effort.budget_s:
        group = list(islice(images, effort.group))
        order = list(ways)[:: 1 if len(groups) % 2 else -1]
        labelled = {name: ways[name].label(group) for name in order}
        groups.append({name: seconds(labelled[name], len(group)) for name in ways})
        for name in ways:
            maps[name] |= labelled[name].label_maps
    return groups, maps


def seconds(labelled: Labelled, num_images: int) -> dict[str, float]:
    """Return the seconds an image took, by the clock and of all cores."""
    return {"wall_s": labelled.wall_s / num_images, "cpu_s": labelled.cpu_s / num_images}


def compared(maps: Mapping[str, Mapping[str, LabelMap]], model: Trained) -> dict[str, Any]:
    """Return how many pixels get the same class from our engine and from mmseg, and what each scores."""
    truth = model.truth()
    pairs = [(maps[OURS][image_id], maps[THEIRS][image_id]) for image_id in maps[OURS]]
    scores = {name: score(of_way, truth, model.num_classes) for name, of_way in maps.items()}
    truth.close()
    equal, pixels = sum(int((a == b).sum()) for a, b in pairs), sum(a.size for a, _ in pairs)
    return {"num_images": len(pairs), "agreement": equal / pixels, "miou": scores}


def score(maps: Mapping[str, LabelMap], truth: LabelMaps, num_classes: int) -> float:
    """Return the mIoU of label maps over the classes that the truth of these images has."""
    total = np.sum([confusion_matrix(truth[image_id], maps[image_id], num_classes) for image_id in maps], axis=0)
    return miou(total, present_classes(total))


def one_long_labelling(ours: Contestant, images: Iterator[tuple[str, Path]], num_images: int) -> dict[str, float]:
    """Label num_images in one request, photos over and over; return the seconds it took. {} for none."""
    if num_images == 0:
        return {}
    many = [(f"{index}/{name}", path) for index, (name, path) in enumerate(islice(images, num_images))]
    return {"num_images": num_images, "wall_s": ours.label(many).wall_s}
