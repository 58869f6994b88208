"""The loop on real waste photos, three seeds: labelled only, control, ceiling, and the loop under threshold policies.

The truth (oracle.json) is touched only after the runs. Control and ceiling have the schedule of a later round: control
learns from the labelled images alone, the ceiling from labels for everything. The policies of one seed share a run, so
that they differ in thresholds and what follows, not in their first teacher. Everything goes through `segloop run`, and
what is measured is noted at once, so that a killed measurement goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import describe
from benchmarks.garbage6_page import page
from benchmarks.page import RESULTS, ROOT, write_page
from segcore.config.load import load_config
from segcore.steps.audit_labels import AuditSpec, audit_labels
from segcore.trust.confusion import ConfusionTable, iou_from, miou

CONFIG = ROOT / "configs" / "garbage6.yaml"
POLICIES = {
    "everything": ("filter.policy=fixed", "filter.tau=0.01"),
    "fixed": ("filter.policy=fixed", "filter.tau=0.9"),
    "class_balanced": ("filter.policy=class_balanced",),
    "calibrated": ("filter.policy=calibrated",),
}


@dataclass(frozen=True)
class Measurement:
    """name: begins the names of runs and result files. overrides: as in segloop run, for all runs."""

    name: str
    seeds: tuple[int, ...]
    policies: tuple[str, ...]
    overrides: tuple[str, ...]


@click.command()
@click.option("--seed", "seeds", multiple=True, type=int, default=(0, 1, 2), show_default=True, help="Repeatable.")
@click.option("--policy", "policies", multiple=True, type=click.Choice(list(POLICIES)), default=tuple(POLICIES))
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="As in segloop run.")
@click.option("--name", default="garbage6", show_default=True, help="Begins the names of runs and result files.")
def garbage6(seeds: tuple[int, ...], policies: tuple[str, ...], overrides: tuple[str, ...], name: str) -> None:
    """Run loop, control and ceiling for every seed and policy; write JSON, Markdown and logs."""
    spec = Measurement(name, seeds, policies, ("runtime.artifacts=../artifacts/benchmarks/garbage6", *overrides))
    measured = [measure(spec, seed) for seed in seeds]
    classes = [row["name"] for row in measured[0]["policies"][policies[0]]["promised"]]
    result = {"environment": describe(), "overrides": overrides, "classes": classes, "seeds": measured}
    write_page(name, result, page)


def measure(spec: Measurement, seed: int) -> dict[str, Any]:
    """Return the figures of one seed; each part is measured once and kept beside the runs."""
    config = load_config(CONFIG, spec.overrides)
    final = config.train.round_iterations or config.train.iterations
    run_id = f"{spec.name}-seed{seed}"
    folder = Path(config.runtime.artifacts)
    folder.mkdir(parents=True, exist_ok=True)
    common = [*spec.overrides, f"loop.seed={seed}", f"roles.seed={seed}", "loop.control=false"]
    alone = [*common, "loop.rounds=0", f"train.iterations={final}"]
    merged = merge_labels(Path(config.data.train.annotations).parent, folder / "everything.json")
    labels = ["data.unlabeled=[]", "data.test=null", f"data.train.annotations={merged}"]
    return {
        "seed": seed,
        "control": once(folder, f"{run_id}-control", lambda name: first_score(run(alone, name))),
        "ceiling": once(folder, f"{run_id}-ceiling", lambda name: first_score(run([*alone, *labels], name))),
        "policies": {
            policy: once(folder, f"{run_id}-{policy}", lambda _, p=policy: loop(run_id, p, common))
            for policy in spec.policies
        },
    }


def once(folder: Path, name: str, measured: Any) -> dict[str, Any]:
    """Return measured(name), or what it returned when it was first measured."""
    note = folder / f"{name}.json"
    if not note.is_file():
        note.write_text(json.dumps(measured(name)))
    found: dict[str, Any] = json.loads(note.read_text())
    return found


def loop(run_id: str, policy: str, common: Sequence[str]) -> dict[str, Any]:
    """Run the loop under a policy and return what came of it, and what its pseudo-labels promised and were."""
    folder = run([*common, *POLICIES[policy]], run_id)
    config = load_config(CONFIG, common)
    oracle = Path(config.data.train.annotations).parent / "oracle.json"
    rounds = [json.loads(path.read_text()) for path in sorted(folder.glob("round_??/round.json"))]
    card = json.loads((folder / rounds[1]["card"]["path"] / "card.json").read_text())
    (audit,) = audit_labels(AuditSpec(str(folder), oracle, 1, False, None))
    return {
        "rounds": [scored(folder / record["evaluation"]["path"]) for record in rounds],
        "outcomes": [record["decision"]["outcome"] for record in rounds],
        "reasons": [record["decision"]["reasons"] for record in rounds],
        "promised": [
            {key: row[key] for key in ("name", "tau", "precision", "coverage", "num_calib")} for row in card["classes"]
        ],
        "real": audit.figures,
    }  # fmt: skip


def run(overrides: Sequence[str], run_id: str) -> Path:
    """Run the loop with overrides, its log into results; return the run folder."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "flows.cli", "run", str(CONFIG), "--update", "--run-id", run_id]
    command += [part for override in overrides for part in ("--set", override)]
    log_path = RESULTS / f"{run_id}.log"
    with log_path.open("a", encoding="utf-8") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True, cwd=ROOT, env=dict(os.environ))
    log_path.write_text(log_path.read_text(encoding="utf-8").replace(str(ROOT), "."), encoding="utf-8")
    return Path(load_config(CONFIG, overrides).runtime.artifacts) / run_id


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


def first_score(folder: Path) -> dict[str, Any]:
    """Return the score of a run's only student."""
    record = json.loads((folder / "round_00" / "round.json").read_text())
    return scored(folder / record["evaluation"]["path"])


def scored(evaluation: Path) -> dict[str, Any]:
    """Return mIoU and IoU by class (None: no such pixel) of a published evaluation."""
    total = ConfusionTable.read(evaluation / "confusion.parquet").total()
    return {"miou": miou(total), "class_iou": [None if iou != iou else float(iou) for iou in iou_from(total)]}
