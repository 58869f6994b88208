"""Label a folder of images: shard by shard as the loop does it, then written in the forms that somebody wants.

What is done lies in `.segloop` in the folder of the results until these are complete: a prediction that was interrupted
goes on, and labels again only what has changed.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from segcore.config.label_schema import LabelConfig
from segcore.data.folders import list_images
from segcore.data.images import safe_join
from segcore.data.index_contents import contents_of
from segcore.data.sources import SourceImage
from segcore.errors import ConfigError, DataError
from segcore.process.jobs import PredictImage, PredictJob
from segcore.process.labeller import LabellerSpec
from segcore.process.labellers import labellers
from segcore.pseudo.shards import num_shards_for, plan_shards
from segcore.records import Quarantined, StepOutput
from segcore.steps.ensemble import Ensemble, EnsembleRequest, find_ensemble
from segcore.steps.label import PREDICTIONS, VERSION
from segcore.steps.labelling_tally import labelling_tally
from segcore.steps.model_files import ViewRequest, label_config
from segcore.steps.predict_forms import WRITERS, Form, Labelled
from segcore.steps.predict_images import GRACE_S, STALL_S, max_megapixels
from segcore.steps.run import Run, cancelled, ensure_step, held_locks, lock_descriptors, stopping, stops_together
from segcore.steps.told_classes import classes_told
from segcore.store.hash_memo import memo_of
from segcore.store.lock import lock_run
from segcore.store.steps import Step

logger = logging.getLogger(__name__)

WORK = ".segloop"
PLACE = "labels"
IMAGES_PER_SHARD = 200
SET_ASIDE = "set_aside.txt"
UNREADABLE = "the file cannot be read, or is a link out of the folder"


@dataclass(frozen=True)
class PredictSpec:
    """A folder to label. forms: what is written into out. size: height, width in px of the csv's label maps."""

    ensemble: EnsembleRequest
    images: str
    out: str
    forms: tuple[str, ...]
    views: ViewRequest
    size: tuple[int, int] = (256, 256)


@dataclass(frozen=True)
class FolderShard:
    """One shard of a folder that is being labelled. out: of its PredictSpec."""

    out: str
    shard_index: int


@dataclass(frozen=True)
class LabelledFolderShard:
    """A shard's predictions. value: num_images, quarantined, and ready: what the model says of itself."""

    output: StepOutput
    shard_index: int
    value: Any


@dataclass(frozen=True)
class PredictSummary:
    """What was labelled. quarantined: images that could not be. written: the files and folders of the results."""

    num_images: int
    quarantined: tuple[Quarantined, ...]
    written: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class OpenFolder:
    """A folder that is being labelled. run: where shards lie. images: name and sha256 of what can be read, by shard."""

    spec: PredictSpec
    run: Run
    ensemble: Ensemble
    label: LabelConfig
    images: dict[int, tuple[tuple[str, str], ...]]
    unreadable: tuple[Quarantined, ...]

    def shards(self) -> tuple[FolderShard, ...]:
        """Return the shards to label."""
        return tuple(FolderShard(self.spec.out, shard_index) for shard_index in self.images)

    @property
    def small_size(self) -> tuple[int, int] | None:
        """Return the size of the extra label maps for a csv."""
        return self.spec.size if "csv" in self.spec.forms else None


opened: dict[str, OpenFolder] = {}  # by out, as shards name it


@contextlib.contextmanager
def open_folder(spec: PredictSpec) -> Iterator[OpenFolder]:
    """Find models and images, and keep other processes out; what was labelled on the way is removed at a good end.

    ConfigError, CheckpointError or DataError for what cannot work; RunLockedError when somebody else writes there.
    """
    if unknown := [form for form in spec.forms if form not in get_args(Form)]:
        raise ConfigError(f"--format must be of {', '.join(get_args(Form))}, got {unknown[0]!r}")
    ensemble = find_ensemble(spec.ensemble)
    keep_apart(Path(spec.images), Path(spec.out))
    names = [image.file_name for image in list_images(Path(spec.images), None)]
    run = Run(Path(spec.out).name, str((Path(spec.out) / WORK).resolve()))
    with lock_run(run.path) as lock:
        held_locks[run.folder] = lock
        stopping.discard(run.folder)
        run.layout.cancel_file.unlink(missing_ok=True)
        try:
            with stops_together(run):
                opened[spec.out] = planned(spec, run, ensemble, names)
                yield opened[spec.out]
        finally:
            opened.pop(spec.out, None)
            held_locks.pop(run.folder, None)
        shutil.rmtree(run.path)


def planned(spec: PredictSpec, run: Run, ensemble: Ensemble, names: Sequence[str]) -> OpenFolder:
    """Read and hash every image file, those that have changed at least, and divide them into shards."""
    sources = [SourceImage("images", name, Path(spec.images), None) for name in names]
    contents = dict(zip(names, contents_of(sources, memo_of(run.path)), strict=True))
    hashes = {name: content.sha256 for name, content in contents.items() if content is not None}
    shards = plan_shards(hashes, num_shards_for(len(hashes), IMAGES_PER_SHARD))
    return OpenFolder(
        spec,
        run,
        ensemble,
        label_config(ensemble.first, spec.views),
        {shard: tuple((name, hashes[name]) for name in members) for shard, members in shards.items()},
        tuple(Quarantined(name, UNREADABLE) for name in names if name not in hashes),
    )


def keep_apart(images: Path, out: Path) -> None:
    """Refuse to write among the images: a PNG result would replace the photo of the same name."""
    if out.resolve().is_relative_to(images.resolve()):
        raise ConfigError(f"--out must lie outside the image folder {images}, got {out}; take another folder")


def predict_shard(shard: FolderShard) -> LabelledFolderShard:
    """Label one shard of an open folder, or take what an interrupted attempt has left."""
    folder = opened[shard.out]
    run = folder.run
    step = shard_step(folder, shard.shard_index)
    tally = labelling_tally(run.folder, PLACE, {index: len(images) for index, images in folder.images.items()})
    on_progress = partial(tally.progressed, shard.shard_index)

    def build(work: Path) -> dict[str, Any]:
        crew = labellers.get(labeller_spec(folder, run.layout.log_file(step)))
        images = images_of(folder, shard.shard_index)
        aside = crew.predict(images, work / PREDICTIONS, on_progress)
        assert crew.ready is not None
        return {
            "num_images": len(images) - len(aside),
            "quarantined": [{"image_id": item.image_id, "reason": item.reason} for item in aside],
            "ready": asdict(crew.ready),
        }

    published = ensure_step(run, step, build)
    tally.finished(shard.shard_index, published.reused)
    return LabelledFolderShard(published.output(run.path), shard.shard_index, published.value)


def shard_step(folder: OpenFolder, shard_index: int) -> Step:
    """Return the step of a shard: weights, views and image contents, as in the loop."""
    small = folder.small_size
    inputs = {
        "teachers": folder.ensemble.digests,
        "views": folder.label.model_dump(mode="json", include={"sizes", "flip", "precision", "resize"}),
        "images": [[name, sha256, small] for name, sha256 in folder.images[shard_index]],
    }
    return Step("label", VERSION, f"{PLACE}/shard_{shard_index:04d}", inputs)


def images_of(folder: OpenFolder, shard_index: int) -> tuple[PredictImage, ...]:
    """Return the images of a shard for the labelling process; an image's id is its file name."""
    root, small = Path(folder.spec.images), folder.small_size
    return tuple(
        PredictImage(name, str(safe_join(root, name).resolve()), small) for name, _ in folder.images[shard_index]
    )


def labeller_spec(folder: OpenFolder, log_path: Path) -> LabellerSpec:
    """Return how the labelling processes of a folder are run."""
    classes, run = folder.ensemble.classes, folder.run
    job = PredictJob(
        teachers=folder.ensemble.teachers,
        num_classes=None if classes is None else classes.num_classes,
        label=folder.label,
        device=folder.spec.views.device,
        max_megapixels=max_megapixels(folder.ensemble.first),
        expected_images=sum(map(len, folder.images.values())),
    )
    failures = folder.label.max_failures
    return LabellerSpec(job, log_path, lock_descriptors(run), GRACE_S, STALL_S, failures, lambda: cancelled(run))


def write_predictions(out: str, shards: Sequence[LabelledFolderShard]) -> PredictSummary:
    """Write the predictions of all shards of an open folder in the forms asked for."""
    folder = opened[out]
    done = [Quarantined(**item) for shard in shards for item in shard.value["quarantined"]]
    quarantined = tuple(sorted((*folder.unreadable, *done), key=lambda item: item.image_id))
    num_images = sum(shard.value["num_images"] for shard in shards)
    note_set_aside(Path(out), quarantined)
    if not num_images:
        raise DataError(f"{folder.spec.images}: none of its images can be labelled; see {Path(out) / SET_ASIDE}")
    labelled = Labelled(
        tuple(folder.run.path / shard.output.path / PREDICTIONS for shard in shards),
        folder.ensemble.classes or classes_told(shards[0].value["ready"]),
        "+".join(weights for weights, _, _ in folder.ensemble.digests),
        Path(folder.spec.images),
        folder.spec.size,
    )
    written = [str(WRITERS[form](labelled, Path(out))) for form in get_args(Form) if form in folder.spec.forms]
    return PredictSummary(num_images, quarantined, tuple(written))


def note_set_aside(out: Path, quarantined: Sequence[Quarantined]) -> None:
    """List the images that could not be labelled, one a line with the reason; no such file when there are none."""
    path = out / SET_ASIDE
    path.unlink(missing_ok=True)
    if quarantined:
        path.write_text("".join(f"{item.image_id}\t{' '.join(item.reason.split())}\n" for item in quarantined))
