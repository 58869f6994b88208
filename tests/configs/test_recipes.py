"""ST++ and consistency training as configs: what makes each of them is on, in runs at tiny width."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segcore.config.load import load_config
from segcore.store.manifest import read_manifest

from .conftest import config_of, published

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WALKED = ("st_plus_plus", "consistency")


def trained(run: Path, place: str) -> Any:
    """Return the manifest of a student."""
    return read_manifest(published(run, place))


def test_st_plus_plus_learns_from_every_pixel_of_the_most_reliable_half(runs: dict[str, Path]) -> None:
    run = runs["st_plus_plus"]
    assert trained(run, "round_01/student").value["num_pseudo"] == 3, "half of the six images of the pool"
    quality = json.loads((published(run, "round_01/pseudo_labels") / "quality.json").read_text())
    assert quality["coverage"] == 1.0
    kept = sorted(path.name for path in published(run, "round_00/student").glob("earlier_*.pth"))
    assert kept == ["earlier_0.pth", "earlier_1.pth"], "the checkpoints that tell how reliable an image is"


def test_st_plus_plus_distorts_pseudo_labelled_images_strongly_as_its_authors_do() -> None:
    config = load_config(config_of("st_plus_plus"))
    strong = config.train.augment.strong
    assert (strong.colour_jitter, strong.grey, strong.blur, strong.cutout, strong.cutmix) == (0.8, 0.2, 0.5, 0.5, 0.0)
    assert (config.student.start, config.loop.rounds, config.train.pseudo_share) == ("fresh", 2, 0.5)
    assert config.filter.reliable_share + config.filter.reliable_step == 1, "all images in the second round"


def test_consistency_training_looks_at_the_pool_in_round_0(runs: dict[str, Path]) -> None:
    student = trained(runs["consistency"], "round_00/student")
    assert student.inputs["student"]["consistency"]["tau"] == 0.95
    assert student.inputs["unlabelled"] is not None
    lines = (published(runs["consistency"], "round_00/student") / "logs" / "progress.jsonl").read_text().splitlines()
    assert "consistency" in lines[-1]
