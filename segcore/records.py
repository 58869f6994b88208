"""Small frozen records that travel between steps, tasks and flows. No torch, no Prefect, no numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

IGNORE_INDEX = 255  # pixels that take no part in training or scoring

Role = Literal["train", "calib", "gate", "report", "unlabeled", "test"]
LABELLED_ROLES: tuple[Role, ...] = ("train", "calib", "gate", "report")
POOL_ROLES: tuple[Role, ...] = ("unlabeled", "test")


@dataclass(frozen=True)
class ClassMap:
    """The classes of a run, in order of class id.

    names: one per class id 0..C-1. palette: RGB 0..255 per class.
    category_ids: COCO category id per class; None for an implicit background.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    category_ids: tuple[int | None, ...]

    @property
    def num_classes(self) -> int:
        """Return C."""
        return len(self.names)


@dataclass(frozen=True)
class ImageRecord:
    """One image of a run, as the index step found it.

    image_id: "<source>/<file_name>", unique in the run. source: the config entry it came from: "train",
    "val", "test", "unlabeled_0" … file_name: POSIX path relative to that entry's image folder.
    width, height: pixels after EXIF orientation. thumb_hash: 64-bit perceptual hash, hex.
    group: equal for images that must stay on one side of every split (near-duplicates, frames of a sequence).
    """

    image_id: str
    source: str
    file_name: str
    sha256: str
    width: int
    height: int
    thumb_hash: str
    group: str
    role: Role


@dataclass(frozen=True)
class Quarantined:
    """An input that was set aside instead of ending the run."""

    image_id: str
    reason: str


@dataclass(frozen=True)
class Checkpoint:
    """Weights on disk. path and config: relative to the run folder, POSIX; absolute when outside it.

    digest: sha256 of the weights file. config: a file with which plain mmseg opens the weights. Of an ensemble path and
    config are its ensemble.json (segcore/steps/ensemble_files.py says what labels then).
    lineage: JSON file naming every image any ancestor was trained on (segcore/trust/lineage.py).
    earlier: sha256 of the weights that were kept on the way of its training, oldest first; they lie beside path
    (segcore.process.jobs.earlier_file). Only where images are ranked by them.
    """

    path: str
    digest: str
    config: str
    lineage: str
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepOutput:
    """A published step: where it lies (relative to the run folder), its content digest, whether it was reused."""

    kind: str
    path: str
    key: str
    digest: str
    reused: bool


@dataclass(frozen=True)
class Interval:
    """A point estimate with its confidence interval."""

    point: float
    low: float
    high: float


@dataclass(frozen=True)
class GateDecision:
    """What the gate says of a round, and why (segcore/trust/gate.py). harmed: classes it got significantly worse at."""

    outcome: Literal["first", "improved", "inconclusive", "worse"]
    reasons: tuple[str, ...]
    delta: Interval | None  # None in round 0: nothing to compare with
    harmed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Score:
    """mIoU of one checkpoint on the honest gate images.

    class_iou: None for a class that is in neither truth nor prediction. num_excluded: gate images that
    could not score this lineage.
    """

    miou: Interval
    class_iou: tuple[float | None, ...]
    aacc: float
    macc: float
    num_images: int
    num_excluded: int


@dataclass(frozen=True)
class RoundRecord:
    """One finished round. teacher: None in round 0 without a given checkpoint.

    pseudo_labels: what the student learnt from. card: the quality card of these (segcore/steps/inspect_labels.py).
    """

    round_index: int
    teacher: Checkpoint | None
    student: Checkpoint
    score: Score
    decision: GateDecision
    evaluation: StepOutput
    pseudo_labels: StepOutput | None
    card: StepOutput | None = None
