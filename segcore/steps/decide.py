"""The gate's decision on a round: pure, made anew each time from published confusions, noted in round.json."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from segcore.records import Checkpoint, RoundRecord, StepOutput
from segcore.steps.approval import refusal
from segcore.steps.evaluate import Evaluation, read_confusions
from segcore.steps.index import Index, class_map_of
from segcore.steps.places import student_place
from segcore.steps.run import Run
from segcore.steps.student_ensemble import num_models
from segcore.steps.train import PseudoLabels, Student
from segcore.store.disk import written
from segcore.store.durable import make_folders, replace_file
from segcore.store.events import append_event, read_events
from segcore.store.layout import member_place
from segcore.store.run_file import canonical_indented
from segcore.trust.gate import GateSpec, gate
from segcore.trust.loop_policy import next_teacher, round_seed, wants_another_round, winner

logger = logging.getLogger(__name__)

OUTCOME_WORDS = {
    "first": "the first to beat", "improved": "improved", "inconclusive": "inconclusive", "worse": "worse",
}  # fmt: skip


@dataclass(frozen=True)
class DecideSpec:
    """A trained and scored student, and the rounds before it."""

    run: Run
    index: Index
    history: tuple[RoundRecord, ...]
    teacher: Checkpoint | None
    student: Student
    evaluation: Evaluation
    pseudo_labels: PseudoLabels | None
    card: StepOutput | None = None

    @property
    def round_index(self) -> int:
        """Return the index of the round that is decided on."""
        return len(self.history)


def decide(spec: DecideSpec) -> RoundRecord:
    """Return the round's record with the gate's decision, and write round.json."""
    record = judged(spec)
    note(spec.run, record)
    return record


def judged(spec: DecideSpec) -> RoundRecord:
    """Return the round's record with the gate's decision; reads published confusions, writes nothing."""
    run, loop = spec.run, spec.run.config.loop
    best = winner(spec.history) if spec.history else None
    gate_spec = GateSpec(
        level=loop.gate_level,
        num_comparisons=loop.rounds,
        resamples=loop.gate_resamples,
        seed=round_seed(loop.seed, spec.round_index),
        class_names=class_map_of(run, spec.index).names,
        baseline_round=None if best is None else best.round_index,
        num_excluded=spec.evaluation.num_excluded,
        class_harm=loop.class_harm,
    )
    baseline = None if best is None else read_confusions(run, best.evaluation)
    labelled_by = next((record for record in spec.history if record.student == spec.teacher), None)
    teacher = None if labelled_by is None else read_confusions(run, labelled_by.evaluation)
    decision, score = gate(baseline, read_confusions(run, spec.evaluation.output), gate_spec, teacher)
    return RoundRecord(
        round_index=spec.round_index,
        teacher=spec.teacher,
        student=spec.student.checkpoint,
        score=score,
        decision=decision,
        evaluation=spec.evaluation.output,
        pseudo_labels=None if spec.pseudo_labels is None else spec.pseudo_labels.output,
        card=spec.card,
    )


def note(run: Run, record: RoundRecord) -> None:
    """Write round.json and say in the log what was decided."""
    path, text = run.layout.round_file(record.round_index), canonical_indented(asdict(record)) + "\n"
    with written(run.layout.relative(path)):
        make_folders(path.parent)
        replace_file(path, text.encode("ascii"))
    miou, decision = record.score.miou, record.decision
    append_event(
        run.path, "decided", round_index=record.round_index, outcome=decision.outcome, miou=miou.point,
        reasons=list(decision.reasons),
    )  # fmt: skip
    logger.info(
        "round %d: gate mIoU %.4f (95 %% interval %.4f … %.4f) on %d images: %s",
        record.round_index, miou.point, miou.low, miou.high, record.score.num_images, OUTCOME_WORDS[decision.outcome],
    )  # fmt: skip
    for reason in decision.reasons if decision.delta is not None else ():
        logger.info("  %s", reason)


def goes_on(run: Run, history: Sequence[RoundRecord]) -> tuple[bool, str]:
    """Return whether the loop wants another round, and why or why not."""
    wanted, reason = wants_another_round(history, run.config.loop, training_hours(run, len(history)))
    refused = refusal(run, history) if wanted else None
    return (wanted, reason) if refused is None else (False, refused)


def training_hours(run: Run, num_rounds: int) -> float:
    """Return what the students of the first rounds took to train, in hours, as the run's events tell.

    Later trainings are not counted: a finished run that is started again would stop earlier than it did.
    """
    students = {
        member_place(student_place(round_index), model)
        for round_index in range(num_rounds)
        for model in range(num_models(run))
    }
    done = (event for event in read_events(run.path) if event["event"] == "step_done" and event["place"] in students)
    return sum(float(event["seconds"]) for event in done) / 3600


def teacher_of(history: Sequence[RoundRecord]) -> Checkpoint | None:
    """Return the teacher of the next round; None for round 0."""
    return next_teacher(history) if history else None
