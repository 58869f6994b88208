"""What a person sees of a run in the Prefect UI: each task's card, the same whether its step was made or reused.

Best effort: a card is made and sent by the poster's thread, and whatever goes wrong there costs the card alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from uuid import UUID

from prefect import runtime
from prefect.context import TaskRunContext

from segcore.cards.calibration import calibration_of
from segcore.cards.decision import gate_decision
from segcore.cards.ensemble import ensemble_card
from segcore.cards.preview import preview
from segcore.cards.progress import label_progress, train_progress, train_reused
from segcore.cards.quality import quality_of
from segcore.cards.rounds import round_metrics
from segcore.cards.summary import run_summary
from segcore.progress import Progress, TrainProgress, listeners
from segcore.records import RoundRecord
from segcore.steps.decide import DecideSpec, goes_on
from segcore.steps.index import class_map_of
from segcore.steps.inspect_labels import Inspection
from segcore.steps.outputs import OutputSpec, RunSummary
from segcore.steps.pseudo_labels import Calibration, FilterSpec
from segcore.steps.quality_card import InspectSpec
from segcore.steps.report import round_report
from segcore.steps.report_ensemble import ensemble_report
from segcore.steps.student_ensemble import JoinSpec
from segcore.steps.train import PseudoLabels, Student, TrainSpec
from segcore.store.layout import ensemble_place
from tasks.lab_book import lab_book
from tasks.poster import Card, Place, Poster

MAX_LINES = 2000  # of a training that are kept for its card

posters: list[Poster] = []  # of the flow runs of this process, the newest last


@contextlib.contextmanager
def window() -> Iterator[None]:
    """Show what happens in the block in the Prefect UI: log lines and cards. Does nothing outside a flow run."""
    if runtime.flow_run.id is None or posters:  # a chain of a cross-validation is shown by the window around it
        yield
        return
    show_progress = ProgressCards().show
    with lab_book(), Poster() as poster:
        posters.append(poster)
        listeners.append(show_progress)
        try:
            yield
        finally:
            posters.remove(poster)
            with contextlib.suppress(ValueError):  # a listener that raised is gone already
                listeners.remove(show_progress)


def post(key: str, description: str, build: Callable[[], str], of_flow_run: bool = False) -> None:
    """Have a card shown at the current task run, or at its flow run; does nothing where there is none."""
    context = TaskRunContext.get()
    if context is None or not posters:
        return
    task_run = context.task_run
    place = Place(key, task_run.flow_run_id, None if of_flow_run else task_run.id)
    posters[-1].post(place, Card(description, build))


class ProgressCards:
    """Live cards: one a training, one a labelling that all of its shards update."""

    def __init__(self) -> None:
        self.lines: dict[UUID, list[TrainProgress]] = {}  # by task run

    def show(self, progress: Progress) -> None:
        """Update the card of a training or of a labelling."""
        if isinstance(progress, TrainProgress):
            lines = tuple(self.lines_with(progress))
            post("train-progress", f"Training of {progress.place}", lambda: train_progress(lines))
        else:
            post("label-progress", f"Labelling of {progress.place}", lambda: label_progress(progress), of_flow_run=True)

    def lines_with(self, progress: TrainProgress) -> list[TrainProgress]:
        """Return the lines of the current task run's training with a new one; every second of too many is dropped."""
        context = TaskRunContext.get()
        if context is None:
            return [progress]
        lines = self.lines.setdefault(context.task_run.id, [])
        lines.append(progress)
        if len(lines) > MAX_LINES:
            del lines[1:-1:2]
        return lines


def trained(spec: TrainSpec, student: Student) -> None:
    """Show that a student was reused; one that was trained has its live card."""
    if student.output.reused:
        post("train-progress", f"Training of {spec.place}", lambda: train_reused(spec.place))


def joined(spec: JoinSpec, student: Student) -> None:
    """Show the models of an ensemble and their weights."""
    post("ensemble", f"Models of {ensemble_place(spec.train.place)}", lambda: members_of(spec, student))


def members_of(spec: JoinSpec, student: Student) -> str:
    """Return the card of an ensemble."""
    found = ensemble_report(spec.train.run, student.checkpoint)
    assert found is not None, "joined students are ensembles"
    return ensemble_card(found)


def calibrated(spec: FilterSpec, calibration: Calibration) -> None:
    """Show what the teacher's confidence is worth."""
    post("calibration", "What confidence is worth, on calib", lambda: calibration_of(spec.run, calibration.output))


def filtered(spec: FilterSpec, labels: PseudoLabels) -> None:
    """Show some of the pseudo-labels."""
    name = "the final labelling" if spec.round_index is None else f"round {spec.round_index}"
    post("pseudo-label-preview", f"Some pseudo-labels of {name}", lambda: preview(spec, labels.output))


def inspected(spec: InspectSpec, found: Inspection) -> None:
    """Show the quality card with its alarms."""
    name = "the final labelling" if spec.filter.round_index is None else f"round {spec.filter.round_index}"
    post("quality-card", f"Quality of the pseudo-labels of {name}", lambda: quality_of(spec.run, name, found.output))


def decided(spec: DecideSpec, record: RoundRecord) -> None:
    """Show the scores of all rounds so far, and the gate's decision."""
    history = (*spec.history, record)
    post("round-metrics", f"Scores up to round {record.round_index}", lambda: metrics_of(spec, history))
    post(
        "gate-decision",
        f"The gate on round {record.round_index}",
        lambda: gate_decision(history, goes_on(spec.run, history)),
    )


def metrics_of(spec: DecideSpec, history: tuple[RoundRecord, ...]) -> str:
    """Return the card of all rounds so far."""
    rounds = [round_report(spec.run, record, {}) for record in history]
    return round_metrics(rounds, class_map_of(spec.run, spec.index).names)


def published(spec: OutputSpec, summary: RunSummary) -> None:
    """Show how the run ended."""
    post("run-summary", f"Run {summary.run_id}", lambda: summary_of(spec, summary))


def summary_of(spec: OutputSpec, summary: RunSummary) -> str:
    """Return the card of a finished run."""
    return run_summary(summary, [round_report(spec.run, record, {}) for record in spec.history])
