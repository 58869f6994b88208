"""The real loop killed at random and resumed until it ends, against the same loop left alone.

Everything lies in one folder, kills and finished runs as JSON lines, so a measurement that was stopped goes on with the
same command, and a larger --kills adds to what is there. Delete the folder to begin anew.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from benchmarks.chaos_attempts import Attempt, Kill, attempt
from benchmarks.chaos_outcome import compare, units_of
from benchmarks.chaos_small import write_small
from benchmarks.environment import describe
from flows.server import free_port, local_api, running_server
from segcore.config.load import load_config

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
UNDISTURBED = "undisturbed"
CAVEATS = (
    "Caveats first: one machine, a CPU, drawn pictures of 64 px, trainings of seconds. A kill is a signal to the "
    "process of `segloop run` alone; power was never cut, so nothing here shows what a disk loses. On a GPU a resumed "
    "training is not the same to the bit, and label maps would then differ by more than ties."
)


@click.command()
@click.option("--kills", default=30, show_default=True, help="How many in all, those of earlier calls included.")
@click.option("--seed", default=0, show_default=True, help="Decides when and how each attempt is killed.")
@click.option("--config", type=click.Path(path_type=Path, exists=True), help="Run config; none: a small one is drawn.")
def chaos(kills: int, seed: int, config: Path | None) -> None:
    """Kill the real loop at random moments, resume it until it ends, compare it with an undisturbed run."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background, and then by what we start too
    measurement = Measurement(ROOT / "artifacts" / f"chaos-seed{seed}", seed, config)
    measurement.run(kills)
    stamp = f"{datetime.now(UTC):%Y-%m-%d}-chaos"
    result = measurement.result()
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{stamp}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (RESULTS / f"{stamp}.md").write_text(markdown(result, stamp), encoding="utf-8")
    click.echo(markdown(result, stamp))


class Measurement:
    """A folder with a config, the undisturbed run, the killed ones, and what happened to them."""

    def __init__(self, folder: Path, seed: int, config: Path | None) -> None:
        self.folder = folder
        self.seed = seed
        folder.mkdir(parents=True, exist_ok=True)
        self.config = config or write_small(folder)
        self.kills_path, self.runs_path = folder / "kills.jsonl", folder / "runs.jsonl"

    def run(self, num_kills: int) -> None:
        """Go on until num_kills have happened and every run that was killed has ended."""
        port = free_port()
        env = {"PREFECT_HOME": str(self.folder / "prefect")}
        with running_server(port, self.folder / "prefect-server.log", env, cwd=self.folder):
            self.server = local_api(port)
            self.finish(UNDISTURBED)
            while len(read(self.kills_path)) < num_kills or self.begun():
                self.disturb(f"killed-{len(read(self.runs_path)):03d}", num_kills)

    def begun(self) -> bool:
        """Return whether a run was killed and has not ended yet."""
        return any(kill["run_id"] == f"killed-{len(read(self.runs_path)):03d}" for kill in read(self.kills_path))

    def disturb(self, run_id: str, num_kills: int) -> None:
        """Start a run again and again, killed each time while there are kills left, until it has ended."""
        while (number := len(read(self.kills_path))) < num_kills:
            kill = attempt(self.attempt(run_id), (self.seed, number), self.folder / "artifacts" / UNDISTURBED)
            if kill is None:
                break
            append(self.kills_path, {"run_id": run_id, **asdict(kill)})
            click.echo(said(number, run_id, kill))
        hung = self.finish(run_id)
        before, after = (self.folder / "artifacts" / name for name in (UNDISTURBED, run_id))
        append(self.runs_path, {"run_id": run_id, "hung": hung, **compare(before, after), **units_of(after)})
        click.echo(f"{run_id}: ended; {read(self.runs_path)[-1]}")

    def finish(self, run_id: str) -> bool:
        """Run to the end; return whether its process hung when all was done."""
        return self.attempt(run_id).to_the_end()

    def attempt(self, run_id: str) -> Attempt:
        """Return what starts a run. Every fourth killed attempt brings its own Prefect server."""
        embedded = run_id != UNDISTURBED and len(read(self.kills_path)) % 4 == 3
        return Attempt(self.folder, self.config, run_id, None if embedded else self.server)

    def result(self) -> dict[str, Any]:
        """Return everything measured."""
        config, kills = load_config(self.config).model_dump(mode="json"), read(self.kills_path)
        killed = {kill["run_id"] for kill in kills}
        return {
            "environment": describe(),
            "seed": self.seed,
            "config": json.loads(json.dumps(config).replace(str(ROOT) + os.sep, "")),
            "undisturbed": units_of(self.folder / "artifacts" / UNDISTURBED),
            "kills": kills,
            "runs": [run for run in read(self.runs_path) if run["run_id"] in killed],
        }


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a JSON lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def append(path: Path, record: dict[str, Any]) -> None:
    """Add a line."""
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def said(number: int, run_id: str, kill: Kill) -> str:
    """Return a kill in one line."""
    return f"kill {number + 1}: {run_id} by {kill.signal} after {kill.after_s:.1f} s in {kill.during}; {kill.left}"


def markdown(result: dict[str, Any], stamp: str) -> str:
    """Return the result file."""
    kills, runs = result["kills"], result["runs"]
    lines = [f"# {stamp}", "", CAVEATS, ""]
    lines += [f"- {name}: {value}" for name, value in result["environment"].items()]
    lines += ["", f"{len(kills)} kills of {len(runs)} runs, each resumed to its end. Seed {result['seed']}.", ""]
    lines += [*kill_table(kills), "", *run_table(runs), ""]
    lost = [kill["lost_iterations"] for kill in kills if kill["lost_iterations"] is not None]
    every = result["config"]["train"]["checkpoint_every"]
    lines += [
        f"Training iterations done again after a kill in training: at most {max(lost, default=0)} "
        f"(mean {sum(lost) / max(1, len(lost)):.1f} of {len(lost)} such kills; a checkpoint every {every}).",
        "Seconds until every process of a killed run was gone: at most "
        f"{max((kill['gone_after_s'] for kill in kills), default=0):.1f}; "
        f"left behind for good: {sum(kill['left'] != 'nothing left' for kill in kills)}.",
        "Processes that had to be killed because they did not end after all their work was done: "
        f"{sum(run['hung'] for run in runs)}.",
    ]
    return "\n".join(lines) + "\n"


def kill_table(kills: list[dict[str, Any]]) -> list[str]:
    """Return kills by what they hit and by signal."""
    signals = sorted({kill["signal"] for kill in kills})
    counts = Counter((kill["during"], kill["signal"]) for kill in kills)
    table = ["| killed during | " + " | ".join(signals) + " |", "|---" * (len(signals) + 1) + "|"]
    for during in sorted({kill["during"] for kill in kills}):
        table.append(f"| {during} | " + " | ".join(str(counts[during, name]) for name in signals) + " |")
    return table


def run_table(runs: list[dict[str, Any]]) -> list[str]:
    """Return what each run came to."""
    table = [
        "| run | starts | steps begun again | steps made twice | quarantined | differing pixels | differs in |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        cells = [run["starts"], run["begun_again"], run["made_twice"], run["quarantined"], run["differing_pixels"]]
        table.append(
            f"| {run['run_id']} | {' | '.join(map(str, cells))} | {', '.join(run['differing']) or 'nothing'} |"
        )
    return table
