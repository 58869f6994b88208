"""`segloop preview-augment`: a picture of what the model will see, before anything is trained."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from segcore.config.schema import RunConfig
from segcore.data.ground_truth import PixelCount, ground_truth
from segcore.data.images import safe_join
from segcore.data.index import refuse
from segcore.data.label_maps import LabelMaps, write_label_maps
from segcore.data.scan import scan_images
from segcore.data.sources import Dataset, image_roots, load_dataset
from segcore.errors import StepError
from segcore.process.jobs import ModelSpec, Sample, TrainJob, write_train_job
from segcore.pseudo.build import LABEL_MAPS
from segcore.records import IGNORE_INDEX, ClassMap, Role
from segcore.store.layout import pseudo_labels_place
from segcore.store.publish import published_candidates

MAX_IMAGES = 300  # of each kind, read for the picture: objects to paste and partners to mix with come from them
CHILD_TIMEOUT_S = 900

T = TypeVar("T")


@dataclass(frozen=True)
class PreviewSpec:
    """What to draw. run_dir: may hold pseudo-labels; need not exist. num: images of each kind. seed: of the draws."""

    run_dir: Path
    out: Path
    num: int
    seed: int


@dataclass(frozen=True)
class Preview:
    """What was drawn. pseudo: where the pseudo-labels came from; None if there were none."""

    out: Path
    num_ground_truth: int
    num_pseudo: int
    pseudo: Path | None


@dataclass(frozen=True)
class Labelled:
    """Images and the file of their label maps. origin: where pseudo-labels were published; None for ground truth."""

    samples: tuple[Sample, ...]
    maps: Path
    origin: Path | None = None


def preview_augment(config: RunConfig, spec: PreviewSpec) -> Preview:
    """Draw labelled images of the config, and pseudo-labelled ones of its run, as a training would see them.

    Reads at most 300 images of each kind and writes nothing but spec.out. Without pseudo-labels, labelled images show
    what the strong set, if there is one, will do to them.
    """
    dataset = load_dataset(config)
    spec.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        truth = paint_ground_truth(config, dataset, Path(work) / "ground_truth.arrow", spec.seed)
        pseudo = newest_pseudo_labels(config, spec) or (truth if any_strong(config) else None)
        job_path = Path(work) / "job.json"
        write_train_job(job_path, preview_job(config, dataset.class_map, (truth, pseudo), spec.seed))
        draw(job_path, spec)
    num_pseudo = 0 if pseudo is None else min(spec.num, len(pseudo.samples))
    origin = None if pseudo is None else pseudo.origin
    return Preview(spec.out, min(spec.num, len(truth.samples)), num_pseudo, origin)


def paint_ground_truth(config: RunConfig, dataset: Dataset, maps: Path, seed: int) -> Labelled:
    """Write the label maps of some labelled images of data.train; DataError naming those that cannot be read."""
    scans, failures = scan_images(chosen(dataset.sources["train"], seed), config.data.max_megapixels)
    refuse("data.train", failures)
    fill = IGNORE_INDEX if config.data.unannotated == "ignore" else 0
    roles: dict[str, Role] = {scan.image.image_id: "train" for scan in scans}
    pixels = PixelCount(dataset.class_map.num_classes)
    write_label_maps(maps, ground_truth(dataset, fill, scans, roles, pixels))
    return Labelled(tuple(Sample(scan.image.image_id, str(scan.image.path())) for scan in scans), maps)


def newest_pseudo_labels(config: RunConfig, spec: PreviewSpec) -> Labelled | None:
    """Return some pseudo-labelled images of the last round that has any; None without."""
    roots = image_roots(config)
    for round_index in range(config.loop.rounds, 0, -1):
        for folder, _ in published_candidates(spec.run_dir, pseudo_labels_place(round_index)):
            maps = LabelMaps(folder / LABEL_MAPS)
            image_ids = chosen([i for i in maps if i.partition("/")[0] in roots], spec.seed)
            kept = [image_id for image_id in image_ids if (maps[image_id] != IGNORE_INDEX).any()]
            maps.close()
            if kept:
                samples = (Sample(i, str(safe_join(roots[i.partition("/")[0]], i.partition("/")[2]))) for i in kept)
                return Labelled(tuple(samples), folder / LABEL_MAPS, folder)
    return None


def chosen(items: Sequence[T], seed: int) -> list[T]:
    """Return at most 300 items, drawn at random."""
    return [items[index] for index in np.random.default_rng(seed).permutation(len(items))[:MAX_IMAGES]]


def any_strong(config: RunConfig) -> bool:
    """Tell whether anything of the strong set may happen."""
    return any(probability > 0 for probability in config.train.augment.strong.model_dump().values())


def preview_job(
    config: RunConfig, classes: ClassMap, labelled: tuple[Labelled, Labelled | None], seed: int
) -> TrainJob:
    """Return a training that reads ground truth and pseudo-labels, and is never run."""
    truth, pseudo = labelled
    return TrainJob(
        model=ModelSpec(None, None, None, None, classes.names, classes.palette),
        train=config.train.model_copy(update={"workers": 0}),
        iterations=config.train.iterations,
        seed=seed,
        ground_truth=truth.samples,
        ground_truth_maps=str(truth.maps),
        pseudo=() if pseudo is None else pseudo.samples,
        pseudo_maps=None if pseudo is None else str(pseudo.maps),
        init_weights=None,
        resume_dir="",
        out_dir="",
        device="cpu",
        unannotated_class=config.data.unannotated_class,
    )


def draw(job_path: Path, spec: PreviewSpec) -> None:
    """Have the sheet drawn by a child process, which loads what training loads. StepError with what it said if not."""
    command = [sys.executable, "-m", "segcore.nn.preview_process", str(job_path), str(spec.num), str(spec.out)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise StepError(f"drawing {spec.num} images took more than {CHILD_TIMEOUT_S} s; ask for fewer") from None
    if done.returncode != 0:
        tail = (done.stderr.strip() or "no output").splitlines()[-1]
        raise StepError(f"drawing the picture ended with exit code {done.returncode}: {tail}")
