"""One round: the teacher labels, the labels are filtered, a student is trained, scored and judged."""

from __future__ import annotations

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.students import train_students
from segcore.records import Checkpoint, RoundRecord
from segcore.steps.decide import DecideSpec, teacher_of
from segcore.steps.evaluate import EvaluateSpec
from segcore.steps.given_teacher import has_given_teacher
from segcore.steps.index import Index
from segcore.steps.inspect_labels import NO_LABELS, LabelledPool, StoppedByAlarm
from segcore.steps.label import label_specs
from segcore.steps.places import evaluation_place
from segcore.steps.pseudo_labels import filter_spec
from segcore.steps.quality_card import InspectSpec
from segcore.steps.run import Run, stops_together
from segcore.steps.student_specs import round_spec
from tasks import steps
from tasks.cancel import stops_when_cancelled
from tasks.labelling import LABEL_THREADS


@flow(
    name="pseudo-label-round",
    flow_run_name="{run.run_id} round {round_index}",
    task_runner=ThreadPoolTaskRunner(max_workers=LABEL_THREADS),  # type: ignore[arg-type]
    validate_parameters=False,
)
@stops_when_cancelled
def pseudo_label_round(
    run: Run, index: Index, round_index: int, history: tuple[RoundRecord, ...]
) -> RoundRecord | StoppedByAlarm:
    """Train a student on ground truth and on what its teacher is sure of, and let the gate judge it."""
    with stops_together(run):
        teacher = teacher_of(history)
        pool = NO_LABELS if teacher is None else label_pool(run, index, history, teacher)
        if pool.stop is not None:
            return StoppedByAlarm(round_index, pool.stop, pool.card)
        spec = round_spec(run, index, round_index, pool.pseudo_labels, teacher)
        given = round_index == 0 and has_given_teacher(run)
        student = steps.import_teacher.submit(spec).result() if given else train_students(spec)
        scored = EvaluateSpec(run, index, student.checkpoint, evaluation_place(round_index))
        evaluation = steps.evaluate_student.submit(scored).result()
        decision = DecideSpec(run, index, history, teacher, student, evaluation, pool.pseudo_labels, pool.card)
        return steps.decide_round.submit(decision).result()


def label_pool(
    run: Run, index: Index, history: tuple[RoundRecord, ...], teacher: Checkpoint, final: bool = False
) -> LabelledPool:
    """Label the pool shard by shard, calibrate, keep what is reliable, and look at it before anyone learns from it."""
    place = None if final else len(history)
    futures = [steps.label_shard.submit(spec) for spec in label_specs(run, index, teacher, place)]
    shards = tuple(future.result() for future in futures)
    spec = filter_spec(run, index, history, teacher, shards, final)
    calibration = steps.calibrate.submit(spec).result()
    draft = steps.filter_labels.submit(spec, calibration).result()
    found = steps.inspect_pseudo_labels.submit(InspectSpec(spec, calibration, draft, history)).result()
    return LabelledPool(shards, found.labels, found.output, found.stop)
