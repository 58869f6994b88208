"""One line of a plan: a step, whether its result is there, and if not, which field is to blame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from segcore.config.schema import RunConfig
from segcore.steps.index import Index
from segcore.steps.label import LabelledShard
from segcore.steps.plan_work import RunSize, Work
from segcore.steps.run import Run
from segcore.steps.status import PROGRESS, last_line
from segcore.store.canonical import JSON
from segcore.store.layout import round_or_final
from segcore.store.publish import Published, published_candidates
from segcore.store.steps import Step, difference

Verdict = Literal["reuse", "redo", "new", "after", "again", "refused"]
CONFIG_NAMES = {
    "views": "label", "chosen": "pool", "seed": "loop.seed", "share": "filter.share", "iterations": "train.iterations",
    "start": "student.start", "unlabelled": "pool",
    "max_megapixels": "data.max_megapixels", "has_val": "data.val", "has_teacher": "model.teacher",
}  # fmt: skip
LATER_NAMES = {
    "train.iterations": "train.round_iterations (else train.iterations)", "train.lr": "train.round_lr (else train.lr)",
}  # fmt: skip


@dataclass(frozen=True)
class PlannedStep:
    """One line of a plan.

    because: fields that make a step be redone, or the step it comes after. note: for people. work: what is to be done,
    None for what is reused.
    """

    place: str
    verdict: Verdict
    because: tuple[str, ...] = ()
    note: str = ""
    work: Work | None = None


@dataclass(frozen=True)
class PlannedRun(Run):
    """A run with the config it would get, which run.json need not hold yet."""

    planned: RunConfig | None = field(default=None, compare=False, repr=False)

    @property
    def config(self) -> RunConfig:
        """Return the config that is planned with."""
        assert self.planned is not None, "a plan needs a config"
        return self.planned


def missing(run: Run, step: Step) -> tuple[Verdict, tuple[str, ...]]:
    """Return whether a step that is not there is new or to be redone, and because of which inputs."""
    others = [manifest for _, manifest in published_candidates(run.path, step.place)]
    if not others:
        return "new", ()
    if any(manifest.key == step.key for manifest in others):
        return "redo", ("damaged files",)
    nearest = min((difference(step, manifest.inputs) for manifest in others), key=len)
    return "redo", config_names(nearest, step.place) or ("the step's version",)


def resumed(run: Run, step: Step) -> tuple[float, str]:
    """Return which share of a training an earlier attempt did, as far as it noted, and that in words."""
    line = last_line(run.layout.resume_dir(step) / PROGRESS) or {}
    iteration, num_iterations = line.get("iteration", 0), line.get("num_iterations", 0)
    if not iteration or not num_iterations:
        return 0.0, ""
    return iteration / num_iterations, f"begun: about {iteration} of {num_iterations} iterations are done"


def config_names(inputs: Sequence[str], place: str) -> tuple[str, ...]:
    """Return the names of a step's inputs as the config calls them, as far as it does; each once, in order."""
    names = []
    later = not place.startswith(round_or_final(0))
    for name in inputs:
        first, dot, rest = name.partition(".")
        changed = CONFIG_NAMES.get(first, first) + dot + rest
        names.append(LATER_NAMES.get(changed, changed) if later else changed)
    return tuple(dict.fromkeys(names))


def labelled_shard(run: Run, shard_index: int, published: Published) -> LabelledShard:
    """Return a published shard as the steps after it want it."""
    value: Any = published.value
    return LabelledShard(published.output(run.path), shard_index, value["num_images"], len(value["quarantined"]))


def shards_line(run: Run, place: str, absent: Sequence[Step], num_shards: int, size: RunSize) -> PlannedStep:
    """Return one line for all shards of a labelling."""
    if not absent:
        return PlannedStep(place, "reuse", note=f"{num_shards} shards")
    verdicts = [missing(run, step) for step in absent]
    because = tuple(dict.fromkeys(name for _, names in verdicts for name in names))
    verdict: Verdict = "redo" if any(found == "redo" for found, _ in verdicts) else "new"
    num_images = sum(num_images_of(step.inputs["images"]) for step in absent)
    note = f"{len(absent)} of {num_shards} shards, {num_images} images"
    return PlannedStep(place, verdict, because, note, size.label_work(num_images))


def num_images_of(images: JSON) -> int:
    """Return how many images a label step has."""
    return len(images)


def has_pool(index: Index) -> bool:
    """Return whether there are images to label."""
    return bool(index.num_images.get("unlabeled") or index.num_images.get("test"))


def gate_place(round_index: int) -> str:
    """Return how a plan names a round's decision, which is made anew each time."""
    return f"{round_or_final(round_index)}/gate"


def labels_place(place: int | None) -> str:
    """Return how a plan names all shards of a labelling."""
    return f"{round_or_final(place)}/labels"
