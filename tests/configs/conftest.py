"""Recipes of configs/, each walked to its end at tiny width on drawn data, once a test module and in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from segcore.config.load import load_config

from .competition_data import draw_competition

ROOT = Path(__file__).parents[2]
TINY = (
    "model.tiny=true", "model.weights=null", "train.iterations=2", "train.round_iterations=2", "train.batch_size=2",
    "train.size=64", "train.warmup_iterations=1", "train.workers=0", "loop.gate_resamples=100",
    "roles.min_gate_images=3", "runtime.device=cpu", "runtime.min_free_gb=0.1",
)  # fmt: skip
ROUND_0 = ("label.sizes=[64]", "label.flip=false", "loop.rounds=0")
ONE_ROUND = ("label.sizes=[64,96]", "loop.rounds=1")
POOL_IS_TEST = ("data.unlabeled=[]",)
RECIPES = {
    "recycling_convnext_tiny": ONE_ROUND,  # with the final refit
    "recycling_convnext_xl": (*ROUND_0, "loop.final_refit=false"),
    "recycling_swin_large": (*ROUND_0, "loop.final_refit=false"),
    "st_plus_plus": (*ONE_ROUND, *POOL_IS_TEST, "train.iterations=3", "train.round_iterations=3", "loop.control=false"),
    "consistency": (*ROUND_0, *POOL_IS_TEST, "student.consistency.unlabelled_batch=2"),
}


def config_of(name: str) -> Path:
    """Return the config of a recipe."""
    return ROOT / "configs" / f"{name}.yaml"


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Walk the recipes that the test module names in WALKED to the end; return their run folders by name."""
    names = request.module.WALKED
    folder = tmp_path_factory.mktemp("recipes")
    data = draw_competition(folder / "data")
    lists = [f"data.{split}.annotations={data / split}.json" for split in ("train", "val", "test")]
    folders = [f"data.{split}.images={data}" for split in ("train", "val", "test")]
    common = [*lists, *folders, *TINY, f"runtime.artifacts={folder}"]
    settings = [[str(config_of(name)), [*common, *RECIPES[name]]] for name in names]
    (folder / "settings.json").write_text(json.dumps(settings))
    command = [sys.executable, "-W", "error", "-m", "tests.configs.one_process", str(folder / "settings.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: folder / str(load_config(config_of(name)).run_id) for name in names}


def published(run: Path, place: str) -> Path:
    """Return the folder of the one step that was done at a place of a run."""
    (folder,) = run.glob(f"{place}.*")
    return folder
