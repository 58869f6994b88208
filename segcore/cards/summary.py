"""Card run-summary: how a run ended, where its files are, and what to do with them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from segcore.cards.markdown import plain, table
from segcore.cards.rounds import rounds_table
from segcore.outputs.report_data import RoundReport
from segcore.steps.outputs import RunSummary

FILES = {
    "report.html": "the whole run on one page, with plots and pictures",
    "model.pth": "weights of the best round",
    "model_config.py": "opens them in plain mmsegmentation",
    "ensemble": "the models of the best round, which vote together",
    "refit/ensemble": "the ensemble of the final refit on all labels: not scored",
    "refit/model.pth": "weights of the final refit on all labels: not scored",
    "annotations.json": "pseudo-annotations, COCO",
    "index_png": "the same as label maps",
    "quality.json": "quality card of the pseudo-annotations",
    "submission.csv": "label maps of the test images",
}


def run_summary(summary: RunSummary, rounds: Sequence[RoundReport]) -> str:
    """Return the card of a finished run; lists the files that are there."""
    caveats = "\n".join(f"- {plain(caveat)}" for caveat in summary.caveats)
    return (
        f"## {plain(summary.run_id)}: round {summary.winner_index} is the best\n\n"
        f"{plain(summary.headline)}\n\n{caveats}\n\n"
        f"Stopped: {plain(summary.stop_reason)}.\n\n"
        f"### Rounds\n\n{rounds_table(rounds)}\n\n"
        f"### Files\n\n{file_table(Path(summary.outputs))}\n\n"
        f"### Go on\n\n{commands(summary)}\n"
    )


def file_table(folder: Path) -> str:
    """Return the outputs that are there, with their paths."""
    rows = [(plain(what), plain(str(folder / name))) for name, what in FILES.items() if (folder / name).exists()]
    return table(("what", "where"), rows, numbers=False)


def commands(summary: RunSummary) -> str:
    """Return commands to look at the run and to use its model."""
    folder = shlex.quote(str(Path(summary.outputs).parent))
    lines = (
        f"segloop status {folder}",
        f"segloop audit {folder} --truth TRUTH.json",
        f"segloop predict --run {folder} --images FOLDER --out FOLDER",
    )
    return "\n".join(("```", *lines, "```"))
