"""Predicting any images with any model, outside of a run: chunk by chunk, so that disk and memory stay flat.

Every visible GPU takes chunks; they are given on in order.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from segcore.config.label_schema import LabelConfig
from segcore.process.jobs import PredictImage, PredictJob
from segcore.process.labeller import LabellerSpec
from segcore.process.labellers import Crew, labelling_devices
from segcore.records import Quarantined
from segcore.steps.model_files import ModelFiles
from segcore.steps.run import cancel_checks

logger = logging.getLogger(__name__)

CHUNK = 200  # images asked for at once
GRACE_S = 10.0
STALL_S = 1800.0
LOG = "predict.log"
MAX_MEGAPIXELS = 200.0


@dataclass(frozen=True)
class PredictRun:
    """Images to predict and how. num_classes: outputs of the model. folder: for predictions and the process's log."""

    model: ModelFiles
    images: Sequence[PredictImage]
    num_classes: int
    label: LabelConfig
    device: str
    max_megapixels: float
    folder: Path


@dataclass
class Progress:
    """What a prediction has come to. quarantined: images that could not be predicted."""

    num_images: int = 0
    quarantined: list[Quarantined] = field(default_factory=list)


def predict_chunks(run: PredictRun, progress: Progress) -> Iterator[Path]:
    """Yield one predictions file after the other, counting into progress; the processes, one a device, live that long.

    At most one chunk more is predicted, or waits on disk, than there are processes.
    """
    stopped = threading.Event()
    spec = labeller_spec(run, stopped)
    devices = labelling_devices(run.device)
    chunks = [run.images[index : index + CHUNK] for index in range(0, len(run.images), CHUNK)]
    with contextlib.closing(Crew(spec, devices)) as crew, ThreadPoolExecutor(len(devices)) as threads:
        ahead: deque[Future[Chunk]] = deque()
        try:
            for number, images in enumerate(chunks):
                ahead.append(
                    threads.submit(predict_chunk, crew, images, run.folder / f"predictions_{number:05d}.parquet")
                )
                if len(ahead) > len(devices):
                    yield counted(ahead.popleft().result(), run, progress)
            while ahead:
                yield counted(ahead.popleft().result(), run, progress)
        finally:
            stopped.set()
            threads.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Chunk:
    """Images that were predicted together, into path; aside: those of them that could not be."""

    path: Path
    num_images: int
    aside: Sequence[Quarantined]


def predict_chunk(crew: Crew, images: Sequence[PredictImage], path: Path) -> Chunk:
    """Have the next free process predict some images."""
    return Chunk(path, len(images), crew.predict(images, path))


def counted(chunk: Chunk, run: PredictRun, progress: Progress) -> Path:
    """Count a chunk into progress; return its file."""
    progress.quarantined += chunk.aside
    progress.num_images += chunk.num_images - len(chunk.aside)
    done = progress.num_images + len(progress.quarantined)
    logger.info("predicted %d of %d images", done, len(run.images))
    return chunk.path


def labeller_spec(run: PredictRun, stopped: threading.Event) -> LabellerSpec:
    """Return how the labelling processes are run. stopped: set when nobody waits for them any more."""
    return LabellerSpec(
        job=PredictJob(
            teachers=run.model.teachers,
            num_classes=run.num_classes,
            label=run.label,
            device=run.device,
            max_megapixels=run.max_megapixels,
            expected_images=len(run.images),
        ),
        log_path=run.folder / LOG,
        pass_fds=(),
        grace_s=GRACE_S,
        stall_s=STALL_S,
        max_failures=run.label.max_failures,
        cancelled=lambda: stopped.is_set() or any(check() for check in cancel_checks),
    )


def max_megapixels(model: ModelFiles) -> float:
    """Return the largest image that is decoded, in millions of pixels."""
    return MAX_MEGAPIXELS if model.run is None else model.run.config.data.max_megapixels


@contextlib.contextmanager
def workspace(parent: Path | None = None) -> Iterator[Path]:
    """Give a folder for predictions that is gone afterwards; after an error the process's log stays."""
    folder = Path(tempfile.mkdtemp(prefix=".segloop-", dir=parent))
    try:
        yield folder
    except BaseException:
        for path in folder.glob("*.parquet*"):
            path.unlink()
        raise
    shutil.rmtree(folder)
