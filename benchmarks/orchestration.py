"""What Prefect costs: one loop walked by flows and by plain calls; what a whole run spends outside of its steps."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from benchmarks.environment import describe
from benchmarks.page import ROOT, last_lines, write_page
from segcore.config.load import load_config
from segcore.store.events import read_events

Event = Mapping[str, Any]


@click.command()
@click.option(
    "--config", type=click.Path(path_type=Path, exists=True), default=ROOT / "configs" / "demo.yaml", show_default=True
)
@click.option("--repeats", type=click.IntRange(min=2), default=5, show_default=True, help="Pairs of walks.")
def orchestration(config: Path, repeats: int) -> None:
    """Run the loop of CONFIG once under a server, then walk it finished, by Prefect and plainly, in turn."""
    from flows.server import free_port, local_api, running_server

    with tempfile.TemporaryDirectory(prefix="orchestration-") as folder:
        port = free_port()
        home = {"PREFECT_HOME": folder, "PREFECT_API_URL": local_api(port)}
        with running_server(port, Path(folder) / "server.log", home, ROOT) as server:
            os.environ.update(home)
            started = time.monotonic()
            cpu_before = cpu_seconds(server.started.pid)
            run_dir = whole_run(config, Path(folder))
            wall_s = time.monotonic() - started
            server_cpu_s = cpu_seconds(server.started.pid) - cpu_before
            result = {
                "environment": describe(),
                "whole": {**whole_figures(list(read_events(run_dir)), started_s=wall_s), "server_cpu_s": server_cpu_s},
                "walks": walks(config, run_dir, repeats),
            }
    write_page("orchestration", result, markdown)


def whole_run(config: Path, folder: Path) -> Path:
    """Run the loop from nothing in a process of its own; return the run folder."""
    artifacts = f"runtime.artifacts={folder / 'artifacts'}"
    command = [sys.executable, "-m", "flows.cli", "run", str(config), "--set", artifacts]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder / "artifacts" / str(load_config(config).run_id)


def whole_figures(events: Sequence[Event], started_s: float) -> dict[str, float]:
    """Return wall-clock seconds of a run: all of it, in steps, and outside of them.

    Steps that run side by side count once. The gate and the outputs leave only the moment they ended at: what lies
    before it counts as outside, so that the figure is an upper bound.
    """
    opened, finished = time_of(events[0]), time_of(events[-1])
    spans = sorted(
        (time_of(event) - float(event["seconds"]), time_of(event)) for event in events if event["event"] == "step_done"
    )
    inside, reached = 0.0, opened
    for start, end in spans:
        inside += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return {
        "start_up_s": started_s - (finished - opened),
        "run_s": finished - opened,
        "steps_s": inside,
        "outside_s": finished - opened - inside,
    }


def time_of(event: Event) -> float:
    """Return when an event was written, in seconds."""
    return datetime.fromisoformat(str(event["time"])).timestamp()


def walks(config: Path, run_dir: Path, repeats: int) -> list[dict[str, float]]:
    """Walk a finished run, everything reused, by Prefect and by plain calls in turn; return seconds of each pair.

    The first pair is left out: it loads what later ones find loaded.
    """
    from flows.embedded import prepare_prefect

    prepare_prefect()
    overrides = [f"runtime.artifacts={run_dir.parent}"]
    pairs = []
    for number in range(repeats + 1):
        order = (walk_by_prefect, walk_plainly) if number % 2 else (walk_plainly, walk_by_prefect)
        pair = {walk.__name__: seconds(walk, config, overrides) for walk in order}
        pairs.append({"prefect_s": pair["walk_by_prefect"], "plain_s": pair["walk_plainly"]})
    return pairs[1:]


def seconds(walk: Any, config: Path, overrides: list[str]) -> float:
    """Return how long a walk takes."""
    with quiet():
        started = time.monotonic()
        walk(config, overrides)
        return time.monotonic() - started


@contextmanager
def quiet() -> Iterator[None]:
    """Keep log lines off the terminal."""
    import logging

    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def walk_by_prefect(config: Path, overrides: list[str]) -> None:
    """Walk the loop as its users do."""
    from flows.pseudo_label_loop import pseudo_label_loop

    pseudo_label_loop(str(config), None, False, overrides)


def walk_plainly(config: Path, overrides: list[str]) -> None:
    """Walk the same steps with neither flows nor tasks."""
    from segcore.steps import decide, evaluate, index, inspect_labels, label, outputs, places, pseudo_labels, train
    from segcore.steps.quality_card import InspectSpec
    from segcore.steps.run import Run, open_run
    from segcore.trust.loop_policy import winner

    def labels(run: Run, found: index.Index, history: list[Any], final: bool) -> inspect_labels.LabelledPool:
        teacher = winner(history).student if final else decide.teacher_of(history)
        assert teacher is not None
        specs = label.label_specs(run, found, teacher, None if final else len(history))
        shards = tuple(label.label_shard(spec) for spec in specs)
        spec = pseudo_labels.filter_spec(run, found, tuple(history), teacher, shards, final)
        calibration = pseudo_labels.calibrate(spec)
        draft = pseudo_labels.filter_labels(spec, calibration)
        seen = inspect_labels.inspect_labels(InspectSpec(spec, calibration, draft, tuple(history)))
        return inspect_labels.LabelledPool(shards, seen.labels, seen.output, seen.stop)

    with open_run(str(config), None, False, overrides) as run:
        found = index.index_images(run)
        history: list[Any] = []
        while not history or decide.goes_on(run, history)[0]:
            number = len(history)
            teacher = decide.teacher_of(history)
            pool = labels(run, found, history, final=False) if history else inspect_labels.NO_LABELS
            pseudo = pool.pseudo_labels
            student = train.train(train.TrainSpec(run, found, number, pseudo, teacher, places.student_place(number)))
            scored = evaluate.EvaluateSpec(run, found, student.checkpoint, places.evaluation_place(number))
            evaluation = evaluate.evaluate(scored)
            spec = decide.DecideSpec(run, found, tuple(history), teacher, student, evaluation, pseudo, pool.card)
            history.append(decide.decide(spec))
        pool = labels(run, found, history, final=True)
        outputs.publish_outputs(outputs.OutputSpec(run, found, tuple(history), pool, None, None))


def cpu_seconds(root: int) -> float:
    """Return the CPU time of a process and all below it so far, in seconds."""
    from segcore.process.supervisor import descendants

    total = 0
    for pid in (root, *descendants(root)):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def markdown(result: dict[str, Any], stamp: str) -> str:
    """Return the result as a page."""
    whole, pairs = result["whole"], result["walks"]
    costs = [pair["prefect_s"] - pair["plain_s"] for pair in pairs]
    cost, run_s = statistics.median(costs), whole["run_s"]
    lines = [
        f"# What orchestration costs, {stamp}",
        "",
        "Read with care: one run on one machine. The walks reuse everything: they hold what Prefect does for each flow",
        "and task run, not what it does while a step works (log lines, cards, heartbeats); the server's CPU time of",
        "the whole run bounds that. Times outside of steps hold the gate and the outputs as well.",
        "",
        "| | s | share of the run |",
        "|---|---|---|",
        row("the run, from opened to finished", run_s, run_s),
        row("outside of steps: orchestration, gate, outputs and report (upper bound)", whole["outside_s"], run_s),
        row(f"**walk by Prefect minus plain walk, median of {len(costs)} pairs**", cost, run_s),
        row("least and most of the pairs", min(costs), run_s, max(costs)),
        row("CPU time of the server during the run", whole["server_cpu_s"], run_s),
        row("before the run: Python, Prefect, and the end of the process", whole["start_up_s"], run_s),
        "",
        "| pair | Prefect, s | plain, s |",
        "|---|---|---|",
        *(f"| {number} | {pair['prefect_s']:.2f} | {pair['plain_s']:.2f} |" for number, pair in enumerate(pairs, 1)),
        *last_lines(result["environment"], "orchestration"),
    ]
    return "\n".join(lines)


def row(what: str, value: float, whole: float, upto: float | None = None) -> str:
    """Return a line of the table: seconds, and their share of the run."""
    values = (value,) if upto is None else (value, upto)
    times = " … ".join(f"{item:.2f}" for item in values)
    shares = " … ".join(f"{item / whole:.2%}" for item in values)
    return f"| {what} | {times} | {shares} |"
