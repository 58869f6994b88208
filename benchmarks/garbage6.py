"""The loop on real waste photos: labelled only, control, loop and ceiling, and the pseudo-labels against the truth.

The truth (oracle.json) is touched only after the runs. The ceiling is a model trained with labels for everything, on
the schedule of a later round. Everything goes through `segloop run`, so that a killed measurement goes on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import describe
from segcore.config.load import load_config
from segcore.steps.audit_labels import AuditSpec, audit_labels
from segcore.trust.confusion import ConfusionTable, iou_from, miou

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "garbage6.yaml"
RESULTS = ROOT / "benchmarks" / "results"


@click.command()
@click.option("--seed", "seeds", multiple=True, type=int, default=(0,), show_default=True, help="May be repeated.")
@click.option("--set", "overrides", multiple=True, metavar="FIELD=VALUE", help="As in segloop run.")
@click.option("--name", default="garbage6", show_default=True, help="Begins the names of runs and result files.")
def garbage6(seeds: tuple[int, ...], overrides: tuple[str, ...], name: str) -> None:
    """Run the loop and the ceiling for every seed; write JSON, Markdown and logs."""
    measured = [measure(f"{name}-seed{seed}", seed, overrides) for seed in seeds]
    stamp = f"{datetime.now(UTC):%Y-%m-%d}-{name}"
    result = {"environment": describe(), "overrides": overrides, "seeds": measured}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{stamp}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (RESULTS / f"{stamp}.md").write_text(markdown(result, stamp), encoding="utf-8")
    click.echo((RESULTS / f"{stamp}.md").read_text(encoding="utf-8"))


def measure(run_id: str, seed: int, overrides: tuple[str, ...]) -> dict[str, Any]:
    """Return the figures of one seed."""
    common = [f"loop.seed={seed}", f"roles.seed={seed}", *overrides]
    loop = run([*common, f"run_id={run_id}"], f"{run_id}.log")
    config = load_config(CONFIG, overrides)
    iterations = config.train.round_iterations or config.train.iterations
    merged = merge_labels(Path(config.data.train.annotations).parent, loop.parent / f"{run_id}-ceiling.json")
    ceiling = run(
        [*common, f"run_id={run_id}-ceiling", f"data.train.annotations={merged}", "data.unlabeled=[]", "data.test=null",
         "loop.rounds=0", "loop.control=false", f"train.iterations={iterations}"],
        f"{run_id}-ceiling.log",
    )  # fmt: skip
    oracle = Path(config.data.train.annotations).parent / "oracle.json"
    rounds = [json.loads(path.read_text()) for path in sorted(loop.glob("round_??/round.json"))]
    return {
        "seed": seed,
        "rounds": [
            {"miou": record["score"]["miou"], "outcome": record["decision"]["outcome"],
             "reasons": record["decision"]["reasons"]}
            for record in rounds
        ],
        "labelled_only": scored(loop, "round_00/evaluation"),
        "loop_rounds": [scored(loop, f"round_{index:02d}/evaluation") for index in range(1, len(rounds))],
        "control": scored(loop, "round_??/control_evaluation"),
        "ceiling": scored(ceiling, "round_00/evaluation"),
        "audit": {audit.name: audit.figures for audit in audit_labels(AuditSpec(str(loop), oracle, None, False, None))},
        "hours": hours(loop),
    }  # fmt: skip


def run(overrides: list[str], log_name: str) -> Path:
    """Run the loop with overrides, its log into results; return the run folder."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "flows.cli", "run", str(CONFIG)]
    command += [part for override in overrides for part in ("--set", override)]
    log_path = RESULTS / log_name
    with log_path.open("a", encoding="utf-8") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=True, cwd=ROOT)
    log_path.write_text(log_path.read_text(encoding="utf-8").replace(str(ROOT), "."), encoding="utf-8")
    config = load_config(CONFIG, overrides)
    return Path(config.runtime.artifacts) / str(config.run_id)


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


def scored(folder: Path, place: str) -> dict[str, Any] | None:
    """Return mIoU and IoU by class of a published evaluation; None where there is none."""
    found = sorted(folder.glob(f"{place}.????????/confusion.parquet"))
    if not found:
        return None
    total = ConfusionTable.read(found[0]).total()
    ious = iou_from(total)
    return {"miou": miou(total), "class_iou": [None if np.isnan(iou) else float(iou) for iou in ious]}


def hours(folder: Path) -> float:
    """Return the hours all steps of a run took together."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return sum(event["seconds"] for event in events if event["event"] == "step_done") / 3600


def markdown(result: dict[str, Any], stamp: str) -> str:
    """Return the result file."""
    lines = [
        f"# {stamp}",
        "",
        "Caveats first: a winner's gate score is optimistic, being chosen by it. The gate has some 50",
    ]
    lines += [
        "images: the gate's own power statement below says which differences it would miss. One seed proves nothing."
    ]
    lines += ["", *(f"- {name}: {value}" for name, value in result["environment"].items())]
    if result["overrides"]:
        lines += [f"- overrides: {', '.join(result['overrides'])}"]
    for seed in result["seeds"]:
        lines += ["", f"## Seed {seed['seed']} ({seed['hours']:.2f} h of steps)", "", *score_table(seed), ""]
        lines += [f"- round {i}: {r['outcome']}: {'; '.join(r['reasons'])}" for i, r in enumerate(seed["rounds"])]
        for name, figures in seed["audit"].items():
            lines += ["", f"### Pseudo-labels against the truth: {name}", "", *audit_table(figures)]
    return "\n".join(lines) + "\n"


def score_table(seed: dict[str, Any]) -> list[str]:
    """Return the comparison as table rows."""
    rows = [("labelled only", seed["labelled_only"]), ("control: GT only, final schedule", seed["control"])]
    rows += [(f"loop, round {index + 1}", score) for index, score in enumerate(seed["loop_rounds"])]
    rows += [("ceiling: all labels, final schedule", seed["ceiling"])]
    table = ["| model | gate mIoU | IoU by class |", "|---|---|---|"]
    for name, score in rows:
        if score is not None:
            classes = " ".join("–" if iou is None else f"{iou:.2f}" for iou in score["class_iou"])
            table.append(f"| {name} | {score['miou']:.4f} | {classes} |")
    return table


def audit_table(figures: dict[str, Any]) -> list[str]:
    """Return precision, coverage and recall by class as table rows."""
    table = ["| class | precision | coverage | recall |", "|---|---|---|---|"]
    for row in (*figures["classes"], figures["all"]):
        cells = [row[name] for name in ("precision", "coverage", "recall")]
        shown = " | ".join("–" if cell is None else f"{cell:.3f}" for cell in cells)
        table.append(f"| {row['name']} | {shown} |")
    return table
