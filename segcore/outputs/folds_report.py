"""cross_validation.html: one self-contained page on all folds together, and the sentences that say what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from segcore.outputs.report import render_page
from segcore.outputs.report_data import Overlay
from segcore.outputs.report_pictures import picture_row
from segcore.outputs.report_text import FEW_GATE_IMAGES, iou, spread
from segcore.records import Interval, Score

TEMPLATE = "folds_page.html"


@dataclass(frozen=True)
class FoldReport:
    """One fold. score: of the winner of its chain, which has not seen it. delta: that minus the others on theirs."""

    fold_index: int
    run_id: str
    winner_index: int
    score: Score
    delta: Interval
    is_member: bool


@dataclass(frozen=True)
class SuspectReport:
    """An image whose label is probably wrong. share: of its labelled pixels that are surely contradicted."""

    file_name: str
    fold_index: int
    share: float
    given: str
    suggested: str


@dataclass(frozen=True)
class FoldsReport:
    """A finished cross-validation.

    score: of all out-of-fold predictions as one. num_suspects: of them suspects are the worst. transductive: sentence
    on the use of test images. num_labelled: pool images the ensemble labelled; 0 without a pool.
    """

    run_id: str
    created: str
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    score: Score
    folds: tuple[FoldReport, ...]
    suspects: tuple[SuspectReport, ...]
    num_suspects: int
    transductive: str
    num_labelled: int
    versions: Mapping[str, str]
    overlays: tuple[Overlay, ...] = field(default=(), compare=False)


def headline(data: FoldsReport) -> str:
    """Return the result in one sentence, with its interval."""
    return (
        f"Out-of-fold mIoU {iou(data.score.miou.point)} ({spread(data.score.miou)}) on {data.score.num_images} "
        f"labelled images, each predicted by the one of {len(data.folds)} models that has never seen it."
    )


def caveats(data: FoldsReport) -> list[str]:
    """Return what the headline does not say, most important first."""
    num_folds = len(data.folds)
    left_out = [str(fold.fold_index) for fold in data.folds if not fold.is_member]
    found = [
        f"The number is that of single models, each trained without 1/{num_folds} of the labels. The fold ensemble is "
        "not scored: all of its models, or all but one, have seen each labelled image.",
        "The interval is over images. It does not tell how much another training seed would change.",
    ]
    if left_out:
        found.append(
            f"Left out of the ensemble: the model of fold {', '.join(left_out)}, worse on its own fold than the others "
            "on theirs by more than chance explains."
        )
    if data.score.num_excluded:
        found.append(
            f"{data.score.num_excluded} labelled images are in no score: the model of their fold, or a teacher of it, "
            "learnt from them or from near-duplicates."
        )
    if data.score.num_images < FEW_GATE_IMAGES:
        found.append(f"There are only {data.score.num_images} labelled images: small differences go unseen.")
    return found


def render_folds(data: FoldsReport, out: Path) -> None:
    """Write the page to out. All text from the run is escaped; equal data gives equal bytes."""
    page = render_page(
        TEMPLATE,
        data=data,
        headline=headline(data),
        caveats=caveats(data),
        pictures=[picture_row(overlay, data.palette) for overlay in data.overlays],
    )
    out.write_text(page, encoding="utf-8")
