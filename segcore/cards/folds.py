"""Card cross-validation: the score of all folds as one, the folds, and where the files are."""

from __future__ import annotations

from pathlib import Path

from segcore.cards.markdown import plain, table
from segcore.outputs.report_text import iou
from segcore.steps.folds_outputs import REPORT, FoldsSpec, FoldsSummary

FILES = {
    REPORT: "everything on one page, with pictures",
    "suspicious_labels.csv": "images whose labels are probably wrong, worst first",
    "members": "the models of the fold ensemble",
    "annotations.json": "the ensemble's pseudo-annotations, COCO",
    "submission.csv": "the ensemble's label maps of the test images",
}


def folds_card(spec: FoldsSpec, summary: FoldsSummary) -> str:
    """Return the card of a finished cross-validation; lists the files that are there."""
    caveats = "\n".join(f"- {plain(caveat)}" for caveat in summary.caveats)
    rows = [
        (str(chain.fold_index), plain(chain.run.run_id), str(chain.winner_index), iou(score.miou.point),
         f"{iou(score.miou.low)} … {iou(score.miou.high)}", "yes" if member.kept else "no")
        for chain, score, member in zip(spec.chains, spec.found.fold_scores, spec.found.members, strict=True)
    ]  # fmt: skip
    header = ("fold", "run", "best round", "mIoU", "95 %", "in the ensemble")
    folder = Path(summary.outputs)
    files = [(plain(what), plain(str(folder / name))) for name, what in FILES.items() if (folder / name).exists()]
    return (
        f"## {plain(summary.run_id)}\n\n{plain(summary.headline)}\n\n{caveats}\n\n"
        f"### Folds\n\n{table(header, rows)}\n\n### Files\n\n{table(('what', 'where'), files, numbers=False)}\n"
    )
