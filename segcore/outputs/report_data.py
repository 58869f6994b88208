"""Everything a report shows, as plain frozen values: rendering reads no file and decides nothing about the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from segcore.records import GateDecision, Interval, Score
from segcore.trust.attribution import Attribution


@dataclass(frozen=True)
class PseudoLabelReport:
    """Pseudo-labels a round was trained on. Per class, in order of class id.

    tau: threshold, in [0, 1]. coverage: share of the pixels predicted as the class that is kept, in [0, 1];
    None: never predicted. ignored_share: share of all pixels not used, in [0, 1]. num_images: pool images labelled.
    promise: what the policy `calibrated` says of the class; None under other policies.
    """

    tau: tuple[float, ...]
    coverage: tuple[float | None, ...]
    ignored_share: float
    num_images: int
    promise: tuple[str | None, ...]


@dataclass(frozen=True)
class EnsembleReport:
    """The models of a round, in the order of the config. shares: of the vote, 0 for one that is no member.

    alone: mIoU of each on calib, None where calib was not asked. sentence: what spoke for these shares.
    """

    models: tuple[str, ...]
    shares: tuple[float, ...]
    alone: tuple[float | None, ...]
    sentence: str


@dataclass(frozen=True)
class RoundReport:
    """One round. seconds: wall-clock seconds by step, in the order to show. pseudo: None in round 0.

    ensemble: None where the student is one model.
    """

    round_index: int
    score: Score
    decision: GateDecision
    seconds: Mapping[str, float]
    pseudo: PseudoLabelReport | None = None
    ensemble: EnsembleReport | None = None

    @property
    def miou(self) -> Interval:
        """Return the mIoU on the honest gate images."""
        return self.score.miou


@dataclass(frozen=True)
class CardReport:
    """A quality card to be shown. title: of which labels. grouped: its alarms in few lines.

    rows: cells as HEADER in segcore/outputs/card_text.py names them, the class name first.
    """

    title: str
    facts: tuple[str, ...]
    alarms: tuple[str, ...]
    grouped: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class ReliabilityPoint:
    """A bin of pixels in a reliability diagram, SVG units, y downwards. x_after: after temperature; None: not known."""

    x: float
    x_after: float | None
    y: float
    y_low: float
    y_high: float
    title: str


@dataclass(frozen=True)
class ReliabilityDiagram:
    """Confidence (to the right) against the share that is right (upwards).

    cells: as HEADER in segcore/outputs/reliability.py names them.
    """

    title: str
    points: tuple[ReliabilityPoint, ...]
    cells: tuple[str, ...]


@dataclass(frozen=True)
class CalibrationReport:
    """The calibration of a teacher as it is shown. diagrams: of all pixels, then of each predicted class.

    side, margin: of a diagram, SVG units. ticks: place along either axis, and what stands there.
    """

    summary: str
    diagrams: tuple[ReliabilityDiagram, ...]
    side: int
    margin: int
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Overlay:
    """An image with its maps, drawn side by side.

    image: (H, W, 3) uint8 RGB. label_map: (H, W) uint8 class ids, 255 = ignore; truth: the same or None.
    confidence: (H, W) float32 in [0, 1], or None.
    """

    title: str
    image: NDArray[np.uint8]
    label_map: NDArray[np.uint8]
    truth: NDArray[np.uint8] | None = None
    confidence: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class ReportData:
    """One finished run.

    created: date and time as text. rounds: round 0 first. winner_index: round_index of the winner. role_counts:
    images by role. transductive: sentence on the use of test images. control: score of a GT-only student on the
    final student's schedule. attribution: what the gain is made of, with that student. report_score: score of the
    winner on the report set. refit: sentence on the model that
    was trained on all labels and is not scored, empty without one. reproduce: the exact command.
    """

    run_id: str
    created: str
    config_yaml: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    rounds: tuple[RoundReport, ...]
    winner_index: int
    stop_reason: str
    role_counts: Mapping[str, int]
    num_dropped: int
    num_quarantined: int
    transductive: str
    versions: Mapping[str, str]
    machine: str
    commit: str
    reproduce: str
    control: Score | None = None
    attribution: Attribution | None = None
    report_score: Score | None = None
    refit: str = ""
    alarms: tuple[str, ...] = ()
    cards: tuple[CardReport, ...] = ()
    calibration: CalibrationReport | None = None
    overlays: tuple[Overlay, ...] = field(default=(), compare=False)

    @property
    def winner(self) -> RoundReport:
        """Return the best round."""
        return next(item for item in self.rounds if item.round_index == self.winner_index)

    @property
    def first(self) -> RoundReport:
        """Return round 0."""
        return self.rounds[0]
