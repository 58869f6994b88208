"""Predicting any images with any model, outside of a run: chunk by chunk, so that disk and memory stay flat."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segcore.config.label_schema import LabelConfig
from segcore.process.jobs import PredictImage, PredictJob, TeacherFiles
from segcore.process.labeller import Labeller, LabellerSpec
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
    """Yield one predictions file after the other, counting into progress; the process lives until the last."""
    spec = LabellerSpec(
        job=PredictJob(
            teachers=(TeacherFiles(str(run.model.checkpoint), str(run.model.config)),),
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
        cancelled=lambda: any(check() for check in cancel_checks),
    )
    with contextlib.closing(Labeller(spec)) as labeller:
        for index in range(0, len(run.images), CHUNK):
            chunk = run.images[index : index + CHUNK]
            path = run.folder / f"predictions_{index // CHUNK:05d}.parquet"
            aside = labeller.predict(chunk, path)
            progress.quarantined += aside
            progress.num_images += len(chunk) - len(aside)
            logger.info("predicted %d of %d images", index + len(chunk), len(run.images))
            yield path


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
