"""The recipes and threshold policies that the garbage6 measurement compares, and how long each trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.page import ROOT
from segcore.config.load import load_config

CONFIGS = ROOT / "configs"
CONFIG = CONFIGS / "garbage6.yaml"
POLICIES = {
    "everything": ("filter.policy=fixed", "filter.tau=0.01"),
    "fixed": ("filter.policy=fixed", "filter.tau=0.9"),
    "class_balanced": ("filter.policy=class_balanced",),
    "calibrated": ("filter.policy=calibrated",),
}
DEFAULT = "class_balanced"  # the policy of segloop's default, which thus is measured among them
STRONG = "train.augment.strong={colour_jitter: 0.8, grey: 0.2, blur: 0.5, cutout: 0.5, cutmix: 0.5}"


@dataclass(frozen=True)
class Recipe:
    """One way to use the pool. what: as the page calls it.

    overrides: after those of the measurement, and stronger; FINAL stands for the iterations of the last students.
    """

    what: str
    config: Path
    overrides: tuple[str, ...] = ()

    def run_overrides(self, common: Sequence[str]) -> list[str]:
        """Return the overrides of a run, given those that all runs have."""
        final = str(final_iterations(common))
        return [*common, *(override.replace("FINAL", final) for override in self.overrides)]

    def schedule(self, common: Sequence[str]) -> list[int]:
        """Return the iterations of each round's student, as many rounds as there may be."""
        config = load_config(self.config, self.run_overrides(common))
        later = config.train.round_iterations or config.train.iterations
        return [config.train.iterations] + [later] * config.loop.rounds


ISSUE = ("st_plus_plus", "consistency", "consistency_on_top")
RECIPES = {
    "st_plus_plus": Recipe("ST++", CONFIGS / "st_plus_plus.yaml", ("loop.rounds=2",)),
    "consistency": Recipe(
        "consistency alone", CONFIGS / "consistency.yaml", ("loop.rounds=0", "train.iterations=FINAL")
    ),
    "consistency_on_top": Recipe("consistency and pseudo-labels", CONFIGS / "consistency.yaml", ("loop.rounds=1",)),
    "consistency_lower_tau": Recipe(
        "consistency alone, tau 0.8, 8 pool images",
        CONFIGS / "consistency.yaml",
        (
            "loop.rounds=0",
            "train.iterations=FINAL",
            "student.consistency.tau=0.8",
            "student.consistency.unlabelled_batch=8",
        ),
    ),
    "strong": Recipe("loop, strong augmentation", CONFIG, (STRONG,)),
    "copy_paste": Recipe("loop, copy-paste", CONFIG, ("train.augment.copy_paste=0.5",)),
    "rare_classes": Recipe("loop, rare-class sampling", CONFIG, ("train.rare_class_share=0.5",)),
    "confidence": Recipe("loop, confidence-weighted loss", CONFIG, ("train.loss.confidence_weighted=true",)),
    "lovasz": Recipe("loop, Lovász loss added", CONFIG, ("train.loss.region=lovasz",)),
    "averaged": Recipe("loop, averaged weights", CONFIG, ("student.ema=0.98",)),
    "start_teacher": Recipe("loop, student starts as its teacher", CONFIG, ("student.start=teacher",)),
    "reliable_views": Recipe(
        "loop, reliable images first (views)", CONFIG, ("filter.reliable_share=0.5", "loop.rounds=2")
    ),
    "reliable_checkpoints": Recipe(
        "loop, reliable images first (checkpoints)",
        CONFIG,
        ("filter.reliability=checkpoints", "filter.reliable_share=0.5", "loop.rounds=2"),
    ),
}


def final_iterations(common: Sequence[str]) -> int:
    """Return the iterations that a later round has, which control, ceiling and every last student have too."""
    train = load_config(CONFIG, common).train
    return train.round_iterations or train.iterations


def schedules(common: Sequence[str], recipes: Sequence[str]) -> dict[str, list[int]]:
    """Return the iterations of every student of each row of the page, first to last."""
    loop, final = Recipe("loop", CONFIG).schedule(common), final_iterations(common)
    own = {name: RECIPES[name].schedule(common) for name in recipes}
    return {"labelled": loop[:1], "control": [final], "loop": loop, **own, "ceiling": [final]}
