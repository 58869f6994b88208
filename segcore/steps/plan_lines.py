"""The lines of a plan as they are collected, and those of what cannot be known before other steps are done."""

from __future__ import annotations

from segcore.steps.given_teacher import has_given_teacher
from segcore.steps.places import (
    control_evaluation_place,
    control_place,
    evaluation_place,
    refit_place,
    report_place,
    student_place,
)
from segcore.steps.plan_growth import Growth, relabelled
from segcore.steps.plan_steps import PlannedStep, gate_place, labels_place, missing, resumed
from segcore.steps.plan_students import unknown_students
from segcore.steps.plan_work import RunSize, Work
from segcore.steps.run import Run
from segcore.steps.train import iterations_of
from segcore.store.layout import calibration_place, card_place, pseudo_labels_place
from segcore.store.publish import Published, look
from segcore.store.steps import Step

SHOWN_SHARDS = 8


class PlanLines:
    """steps collects the lines of a plan, met what they stand for. grown: how the pool differs from the old index."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.steps: list[PlannedStep] = []
        self.met: list[tuple[Step, Published | None]] = []
        self.size: RunSize | None = None
        self.grown: Growth | None = None

    def add(self, step: PlannedStep) -> None:
        """Append a line."""
        self.steps.append(step)

    def after(self, place: str, work: Work | None, upstream: str | None = None) -> None:
        """Append a step whose inputs are not known before upstream, else the step above it, is done."""
        self.add(PlannedStep(place, "after", (upstream or self.newest,), work=work))

    @property
    def newest(self) -> str:
        """Return the place of the last line."""
        return self.steps[-1].place

    def meet(self, step: Step, work: Work) -> Published | None:
        """Look a step up and append what was found."""
        found = look(self.run.path, step)
        self.met.append((step, found))
        if found is not None:
            self.add(PlannedStep(step.place, "reuse"))
            return found
        verdict, because = missing(self.run, step)
        done, note = resumed(self.run, step)
        left = Work(work.kind, work.amount * (1 - done), work.file_bytes)
        self.add(PlannedStep(step.place, verdict, because, note, left))
        return None

    @property
    def sized(self) -> RunSize:
        """Return how many images there are; known once the index was looked up."""
        assert self.size is not None, "the index comes first"
        return self.size

    def student_work(self, round_index: int) -> Work:
        """Return the work of a round's student; of one model of an ensemble."""
        if round_index == 0 and has_given_teacher(self.run):
            return Work("import", 1.0, 0.0)
        return self.sized.train_work(iterations_of(self.run.config, round_index))

    def unknown_student(self, round_index: int) -> None:
        """Append a student whose pseudo-labels are not there yet, and its score."""
        unknown_students(self, student_place(round_index), round_index)
        self.unknown_score(round_index)

    def unknown_score(self, round_index: int) -> None:
        """Append the score and decision of a student that is not there yet."""
        self.after(evaluation_place(round_index), self.sized.evaluate_work(self.sized.num_gate))
        self.after(gate_place(round_index), None)

    def unknown_loop(self, first_round: int) -> str:
        """Append every round from first_round on that may come, and the end; return how far the loop may go."""
        last = self.run.config.loop.rounds
        for round_index in range(first_round, last + 1):
            if round_index > 0:
                self.unknown_pool(round_index)
            self.unknown_student(round_index)
        decided = self.steps[-1].place
        if self.sized.num_pool:
            self.unknown_pool(None)
        if self.sized.num_report:
            self.after(report_place(), self.sized.evaluate_work(self.sized.num_report), decided)
        if self.run.config.loop.control and last > 0:
            unknown_students(self, control_place(last), last, decided)
            self.after(control_evaluation_place(last), self.sized.evaluate_work(self.sized.num_gate))
        if self.run.config.loop.final_refit:
            unknown_students(self, refit_place(), last)
        self.after("outputs", None)
        return f"up to round {last}, while the gate, patience and budget allow (at most: the best case needs less)"

    def unknown_pool(self, place: int | None) -> None:
        """Append a labelling whose teacher, or whose pool, is not known yet."""
        num_images = self.sized.num_labelled(final=place is None)
        if self.grown is not None and place == 1:  # by the teacher that labelled before; later ones change
            self.grown_labels(self.grown)
        else:
            self.after(labels_place(place), self.sized.label_work(num_images))
        self.after(calibration_place(place), self.sized.calibrate_work())
        self.unknown_labels(place)

    def unknown_labels(self, place: int | None) -> None:
        """Append the pseudo-labels of a labelling that is not there yet, and their card."""
        self.after(pseudo_labels_place(place), self.sized.filter_work())
        self.after(card_place(place), self.sized.inspect_work())

    def grown_labels(self, growth: Growth) -> None:
        """Append the first labelling of a pool that grew."""
        found = relabelled(self.run, growth)
        names = ", ".join(f"{shard:04d}" for shard in found.shards[:SHOWN_SHARDS])
        more = ", …" if len(found.shards) > SHOWN_SHARDS else ""
        note = f"{len(found.shards)} of {found.num_shards} shards ({names}{more}), {found.num_images} images at most"
        self.add(PlannedStep(labels_place(1), "redo", ("images",), note, self.sized.label_work(found.num_images)))
