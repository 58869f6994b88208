"""What a run would do, before it does it: which steps are reused, which redone and because of which field.

It walks the loop as the flow does, over published results only. No lock is taken, nothing is built or moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segcore.config.schema import RunConfig
from segcore.data.sources import load_dataset
from segcore.errors import HonestScoreError
from segcore.records import Checkpoint, RoundRecord
from segcore.steps.decide import DecideSpec, goes_on, judged, teacher_of
from segcore.steps.evaluate import EvaluateSpec, Evaluation, evaluate_step, scoring_images
from segcore.steps.index import Index, index_step
from segcore.steps.inspect_labels import NO_LABELS, LabelledPool, StoppedByAlarm
from segcore.steps.label import LabelledShard, label_specs, label_step
from segcore.steps.places import (
    control_evaluation_place,
    evaluation_place,
    refit_place,
    report_place,
)
from segcore.steps.plan_growth import growth_of
from segcore.steps.plan_inspection import planned_inspection
from segcore.steps.plan_lines import PlanLines
from segcore.steps.plan_steps import (
    PlannedRun,
    PlannedStep,
    gate_place,
    has_pool,
    labelled_shard,
    labels_place,
    shards_line,
)
from segcore.steps.plan_students import planned_student, unknown_students
from segcore.steps.plan_work import size_from_dataset, size_from_index
from segcore.steps.pseudo_labels import Calibration, calibrate_step, filter_spec, filter_step, pseudo_labels_of
from segcore.steps.quality_card import InspectSpec
from segcore.steps.refit import refit_shares, refit_spec, wants_refit
from segcore.steps.run import completed
from segcore.steps.student_specs import control_spec, round_spec
from segcore.steps.train import (
    PseudoLabels,
    wants_control,
)
from segcore.store.layout import calibration_place, card_place, index_place, pseudo_labels_place
from segcore.store.publish import Published, look, published_candidates
from segcore.store.run_file import effective_changes, read_run_file, shown
from segcore.store.steps import Step
from segcore.trust.loop_policy import winner


@dataclass(frozen=True)
class Plan:
    """A run's steps in order. changes: "field: old -> new" of a config that differs from the run's.

    stale_data: the data differ from those the run was started with. ending: why the loop stops, or how far it may go.
    met: every step whose inputs are known, each shard by itself, with its result if that is there.
    """

    folder: Path
    changes: tuple[str, ...]
    stale_data: bool
    steps: tuple[PlannedStep, ...]
    ending: str
    met: tuple[tuple[Step, Published | None], ...]


def plan_run(config: RunConfig, folder: Path) -> Plan:
    """Return what running config in a run folder would do. folder: absolute; it need not exist.

    DataError when lists or label files cannot be read, RunError when the folder is not one of this segloop.
    """
    walk = Walk(PlannedRun(folder.name, str(folder), planned=config))
    index, stale_data = walk.index()
    ending = walk.unindexed() if index is None else walk.loop(index)
    return Plan(folder, config_changes(config, folder), stale_data, tuple(walk.steps), ending, tuple(walk.met))


def config_changes(config: RunConfig, folder: Path) -> tuple[str, ...]:
    """Return "field: old -> new" for every field that would make the run refuse without --update."""
    if not (folder / "run.json").exists():
        return ()
    old, new = completed(read_run_file(folder).config), config.model_dump(mode="json")
    return tuple(f"{name}: {shown(old, name)} -> {shown(new, name)}" for name in effective_changes(old, new))


class Walk(PlanLines):
    """The loop, walked over what is published."""

    def index(self) -> tuple[Index | None, bool]:
        """Look the index up; return it, and whether one of other data is there. Hashes images only if there is one."""
        run = self.run
        others = published_candidates(run.path, index_place())
        if not others:
            self.size = size_from_dataset(run.config, load_dataset(run.config))
            self.add(PlannedStep(index_place(), "new", work=self.size.index_work()))
            return None, False
        step = index_step(run)
        found = look(run.path, step)
        if found is None:
            self.size = size_from_dataset(run.config, load_dataset(run.config))
            self.meet(step, self.size.index_work())
            self.grown = growth_of(run, step)
            return None, all(manifest.key != step.key for _, manifest in others)
        value: Any = found.value
        index = Index(found.output(run.path), value["digests"], value["num_images"])
        self.size = size_from_index(run, index)
        self.meet(step, self.size.index_work())
        return index, False

    def unindexed(self) -> str:
        """Walk a run whose index is to be made: round 0 is known where only the pool differs from the old one."""
        if self.grown is None:
            return self.unknown_loop(0)
        if self.round(self.grown.index, ()) is None:
            self.grown = None  # nobody has labelled yet
        return self.unknown_loop(1)

    def loop(self, index: Index) -> str:
        """Walk rounds for as long as their results are there; return why the loop ends, as far as is known."""
        history: tuple[RoundRecord, ...] = ()
        while True:
            record = self.round(index, history)
            if record is None:
                return self.unknown_loop(len(history) + 1)
            if isinstance(record, StoppedByAlarm):
                self.finish(index, history)
                return f"the loop stops: {record.reason}"
            history = (*history, record)
            wanted, reason = goes_on(self.run, history)
            if not wanted:
                self.finish(index, history)
                return f"the loop stops: {reason}"

    def round(self, index: Index, history: tuple[RoundRecord, ...]) -> RoundRecord | StoppedByAlarm | None:
        """Walk one round; return its record if all of it is published."""
        run, round_index, teacher = self.run, len(history), teacher_of(history)
        pool = NO_LABELS if teacher is None else self.pool(index, history, teacher, final=False)
        if pool is None:
            self.unknown_student(round_index)
            return None
        if pool.stop is not None:
            return StoppedByAlarm(round_index, pool.stop, pool.card)
        spec = round_spec(run, index, round_index, pool.pseudo_labels, teacher)
        student = planned_student(self, spec)
        if student is None:
            self.unknown_score(round_index)
            return None
        scored = self.evaluation(EvaluateSpec(run, index, student.checkpoint, evaluation_place(round_index)))
        if scored is None:
            self.after(gate_place(round_index), None)
            return None
        record = judged(DecideSpec(run, index, history, teacher, student, scored, pool.pseudo_labels, pool.card))
        note = f"{record.decision.outcome}, mIoU {record.score.miou.point:.4f}"
        self.add(PlannedStep(gate_place(round_index), "again", note=note))
        return record

    def evaluation(self, spec: EvaluateSpec) -> Evaluation | None:
        """Look an evaluation up; a lineage that too few images may score is told."""
        try:
            kept, excluded = scoring_images(spec)
        except HonestScoreError as error:
            self.add(PlannedStep(spec.place, "refused", note=str(error)))
            return None
        found = self.meet(evaluate_step(spec, kept), self.sized.evaluate_work(len(kept)))
        return None if found is None else Evaluation(found.output(self.run.path), len(kept), len(excluded))

    def pool(
        self, index: Index, history: tuple[RoundRecord, ...], teacher: Checkpoint, final: bool
    ) -> LabelledPool | None:
        """Walk the labelling of the pool: shards, calibration, filter, quality card."""
        run, place = self.run, None if final else len(history)
        shards = self.shards(index, teacher, place)
        if shards is None:
            self.after(calibration_place(place), self.sized.calibrate_work())
            self.unknown_labels(place)
            return None
        spec = filter_spec(run, index, history, teacher, shards, final)
        found = self.meet(calibrate_step(spec), self.sized.calibrate_work())
        if found is None:
            self.unknown_labels(place)
            return None
        value: Any = found.value
        calibration = Calibration(found.output(run.path), value["num_images"])
        kept = self.meet(filter_step(spec, calibration), self.sized.filter_work())
        if kept is None:
            self.after(card_place(place), self.sized.inspect_work())
            return None
        drafted = InspectSpec(spec, calibration, pseudo_labels_of(run, kept), history)
        inspected = planned_inspection(self, drafted, self.sized)
        return None if inspected is None else LabelledPool(shards, inspected.labels, inspected.output, inspected.stop)

    def shards(self, index: Index, teacher: Checkpoint, place: int | None) -> tuple[LabelledShard, ...] | None:
        """Look all shards of a labelling up, and append one line for them; return them if all are published."""
        run = self.run
        steps = [(spec.shard_index, label_step(spec)) for spec in label_specs(run, index, teacher, place)]
        found = [(shard, step, look(run.path, step)) for shard, step in steps]
        whole = tuple(labelled_shard(run, shard, published) for shard, _, published in found if published is not None)
        absent = [step for _, step, published in found if published is None]
        self.met += [(step, published) for _, step, published in found]
        self.add(shards_line(run, labels_place(place), absent, len(steps), self.sized))
        return None if absent else whole

    def finish(self, index: Index, history: tuple[RoundRecord, ...]) -> None:
        """Walk what follows the last round."""
        run, best = self.run, winner(history)
        pool = self.pool(index, history, best.student, final=True) if has_pool(index) else NO_LABELS
        labels, labelled = None if pool is None else pool.pseudo_labels, pool is not None
        if index.num_images.get("report"):
            self.evaluation(EvaluateSpec(run, index, best.student, report_place(), role="report"))
        if wants_control(run, best.round_index):
            self.control(index, history)
        if wants_refit(run, best):
            self.refit(index, best, labels)
        note = "cheap" if labelled else ""
        self.add(PlannedStep("outputs", "again", note=note))

    def refit(self, index: Index, best: RoundRecord, labels: PseudoLabels | None) -> None:
        """Walk the training on all labels. labels: None where the pool is empty or not labelled yet."""
        if labels is None and has_pool(index) and best.round_index > 0:
            unknown_students(self, refit_place(), best.round_index, pseudo_labels_place(None))
        else:
            planned_student(self, refit_spec(self.run, index, best, labels), refit_shares(self.run, best))

    def control(self, index: Index, history: tuple[RoundRecord, ...]) -> None:
        """Walk the GT-only student on the winner's schedule."""
        spec = control_spec(self.run, index, history)
        student = planned_student(self, spec)
        place = control_evaluation_place(spec.round_index)
        if student is None:
            self.after(place, self.sized.evaluate_work(self.sized.num_gate))
            return
        self.evaluation(EvaluateSpec(self.run, index, student.checkpoint, place))
