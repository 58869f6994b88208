"""The loop on real waste photos, three seeds: labelled only, control, ceiling, threshold policies and whole recipes.

The truth (oracle.json) is touched only after the runs. Control and ceiling have the schedule of a later round: control
learns from the labelled images alone, the ceiling from labels for everything. The policies of one seed share a run, so
that they differ in thresholds and what follows, not in their first teacher; each recipe has a run of its own.
Everything goes through `segloop run`, and what is measured is noted at once, so that a killed measurement goes on and
one with more recipes measures these alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import describe
from benchmarks.garbage6_page import page
from benchmarks.garbage6_recipes import CONFIG, ISSUE, POLICIES, RECIPES, Recipe, final_iterations, schedules
from benchmarks.page import RESULTS, ROOT, write_page
from segcore.config.load import load_config
from segcore.steps.audit_labels import AuditSpec, audit_labels
from segcore.trust.confusion import ConfusionTable, iou_from, miou

Note = dict[str, Any]


@dataclass(frozen=True)
class Measurement:
    """name: begins the names of runs and result files. overrides: as in segloop run, for all runs."""

    name: str
    seeds: tuple[int, ...]
    policies: tuple[str, ...]
    recipes: tuple[str, ...]
    overrides: tuple[str, ...]

    def common(self, seed: int) -> list[str]:
        """Return the overrides of all runs with a seed."""
        return [*self.overrides, f"loop.seed={seed}", f"roles.seed={seed}", "loop.control=false"]

    @property
    def folder(self) -> Path:
        """Return where runs and notes lie."""
        return Path(load_config(CONFIG, self.overrides).runtime.artifacts)


@click.command()
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1, 2), show_default=True, help="Repeatable.")
@click.option("--policy", "policies", multiple=True, type=click.Choice(list(POLICIES)), default=tuple(POLICIES))
@click.option("--recipe", "recipes", multiple=True, type=click.Choice(list(RECIPES)), default=ISSUE, show_default=True)
@click.option("--no-recipes", is_flag=True, help="Measure control, policies and ceiling alone.")
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="As in segloop run.")
@click.option("--name", default="garbage6", show_default=True, help="Begins the names of runs and result files.")
def garbage6(
    seeds: tuple[int, ...],
    policies: tuple[str, ...],
    recipes: tuple[str, ...],
    no_recipes: bool,
    overrides: tuple[str, ...],
    name: str,
) -> None:
    """Run control, ceiling, policies and recipes for every seed; write JSON, Markdown and logs."""
    recipes = () if no_recipes else recipes
    artifacts = f"runtime.artifacts={ROOT / 'artifacts' / 'benchmarks' / 'garbage6'}"
    spec = Measurement(name, seeds, policies, recipes, (artifacts, *overrides))
    spec.folder.mkdir(parents=True, exist_ok=True)
    measured = [measure(spec, seed) for seed in seeds]
    result = {
        "environment": describe(),
        "overrides": overrides,
        "classes": [row["name"] for row in measured[0]["policies"][policies[0]]["promised"]],
        "titles": {recipe: RECIPES[recipe].what for recipe in recipes},
        "schedules": schedules(spec.overrides, recipes),
        "seeds": measured,
    }
    write_page(name, result, page)


def measure(spec: Measurement, seed: int) -> dict[str, Any]:
    """Return the figures of one seed; each part is measured once and kept beside the runs."""
    run_id, common = f"{spec.name}-seed{seed}", spec.common(seed)
    alone = [*common, "loop.rounds=0", f"train.iterations={final_iterations(common)}"]
    merged = merge_labels(data_folder(common), spec.folder / "everything.json")
    labels = ["data.unlabeled=[]", "data.test=null", f"data.train.annotations={merged}"]

    def noted(part: str, measured: Callable[[str], Note]) -> Note:
        return once(spec.folder, f"{run_id}-{part}", measured)

    return {
        "seed": seed,
        "control": noted("control", lambda name: first_score(run(CONFIG, alone, name))),
        "ceiling": noted("ceiling", lambda name: first_score(run(CONFIG, [*alone, *labels], name))),
        "policies": {
            policy: noted(policy, lambda _, p=policy: of_policy(run_id, p, common))  # type: ignore[misc]
            for policy in spec.policies
        },
        "recipes": {
            recipe: noted(recipe, lambda name, r=RECIPES[recipe]: of_recipe(name, r, common))  # type: ignore[misc]
            for recipe in spec.recipes
        },
    }


def once(folder: Path, name: str, measured: Callable[[str], Note]) -> Note:
    """Return measured(name) and the commit it was measured at, or what was noted when it was first measured."""
    note = folder / f"{name}.json"
    if not note.is_file():
        note.write_text(json.dumps({**measured(name), "commit": describe()["commit"]}))
    found: Note = json.loads(note.read_text())
    return found


def of_policy(run_id: str, policy: str, common: Sequence[str]) -> Note:
    """Run the loop under a policy and return what came of it, and what its pseudo-labels promised and were."""
    folder = run(CONFIG, [*common, *POLICIES[policy]], run_id)
    rounds = records(folder)
    card = json.loads((folder / rounds[1]["card"]["path"] / "card.json").read_text())
    (audit,) = audit_labels(AuditSpec(str(folder), data_folder(common) / "oracle.json", 1, False, None))
    return {
        **of_rounds(folder, rounds),
        "promised": [
            {key: row[key] for key in ("name", "tau", "precision", "coverage", "num_calib")} for row in card["classes"]
        ],
        "real": audit.figures,
    }  # fmt: skip


def of_recipe(run_id: str, recipe: Recipe, common: Sequence[str]) -> Note:
    """Run a recipe and return what came of it."""
    folder = run(recipe.config, recipe.run_overrides(common), run_id)
    return of_rounds(folder, records(folder))


def of_rounds(folder: Path, rounds: Sequence[Note]) -> Note:
    """Return scores and the gate's decisions, round by round."""
    return {
        "rounds": [scored(folder / record["evaluation"]["path"]) for record in rounds],
        "outcomes": [record["decision"]["outcome"] for record in rounds],
        "reasons": [record["decision"]["reasons"] for record in rounds],
    }


def records(folder: Path) -> list[Note]:
    """Return the records of a run's rounds."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("round_??/round.json"))]


def data_folder(overrides: Sequence[str]) -> Path:
    """Return the folder of the data set."""
    return Path(load_config(CONFIG, overrides).data.train.annotations).parent


def run(config: Path, overrides: Sequence[str], run_id: str) -> Path:
    """Run the loop of a config with overrides, its log into results; return the run folder."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "flows.cli", "run", str(config), "--update", "--run-id", run_id]
    command += [part for override in overrides for part in ("--set", override)]
    log_path = RESULTS / f"{run_id}.log"
    with log_path.open("a", encoding="utf-8") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True, cwd=ROOT, env=dict(os.environ))
    log_path.write_text(log_path.read_text(encoding="utf-8").replace(str(ROOT), "."), encoding="utf-8")
    return Path(load_config(config, overrides).runtime.artifacts) / run_id


def merge_labels(data: Path, out: Path) -> Path:
    """Write one COCO file with the labels of train and of the oracle; ids are made anew."""
    merged: dict[str, Any] = {"images": [], "annotations": []}
    for name in ("train.json", "oracle.json"):
        coco = json.loads((data / name).read_text())
        merged["categories"] = coco["categories"]
        new_ids = {image["id"]: len(merged["images"]) + index + 1 for index, image in enumerate(coco["images"])}
        merged["images"] += [{**image, "id": new_ids[image["id"]]} for image in coco["images"]]
        for annotation in coco["annotations"]:
            fresh = {"id": len(merged["annotations"]) + 1, "image_id": new_ids[annotation["image_id"]]}
            merged["annotations"].append({**annotation, **fresh})
    out.write_text(json.dumps(merged))
    return out


def first_score(folder: Path) -> Note:
    """Return the score of a run's only student."""
    return scored(folder / records(folder)[0]["evaluation"]["path"])


def scored(evaluation: Path) -> Note:
    """Return mIoU and IoU by class (None: no such pixel) of a published evaluation."""
    total = ConfusionTable.read(evaluation / "confusion.parquet").total()
    return {"miou": miou(total), "class_iou": [None if iou != iou else float(iou) for iou in iou_from(total)]}
