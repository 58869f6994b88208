"""Where everything of a run lies. Nothing else in segloop spells these names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segcore.store.steps import Step

MANIFEST = "manifest.json"
WORK_SUFFIX = ".work"
RESUME_SUFFIX = ".resume"
LOGS = "logs"  # in a step's folder: listed in the manifest, no part of the digest
FINAL = "final"  # in place of round_NN: what follows the loop, first the labelling that outputs/ are made from
FOLDS = "folds"  # in place of round_NN: what a cross-validation makes of all its chains


def round_name(round_index: int) -> str:
    """Return the folder name of a round: round_00, round_01 …"""
    return f"round_{round_index:02d}"


def index_place() -> str:
    """Return the place of the index step."""
    return "index"


def student_place(round_index: int) -> str:
    """Return the place of a round's training."""
    return f"{round_name(round_index)}/student"


def control_place(round_index: int) -> str:
    """Return the place of the GT-only training on the schedule of a round's student."""
    return f"{round_name(round_index)}/control"


def refit_place() -> str:
    """Return the place of the training on all labels after the loop."""
    return f"{FINAL}/refit"


def member_place(place: str, model: int) -> str:
    """Return the place of one model's training where several are trained together; model 0 keeps the place itself."""
    return place if model == 0 else f"{place}_{model}"


def votes_place(place: str, model: int) -> str:
    """Return the place of a model's votes on calib. place: of its training, as of member_place.

    >>> votes_place("round_01/student_2", 2), votes_place("round_01/control", 0)
    ('round_01/votes_2', 'round_01/control_votes')
    """
    first = place.removesuffix(member_place("", model))
    return member_place(ensemble_place(first).replace("ensemble", "votes"), model)


def ensemble_place(place: str) -> str:
    """Return the place of the ensemble of several models. place: of the training of the first.

    >>> ensemble_place("round_01/student"), ensemble_place("final/refit")
    ('round_01/ensemble', 'final/refit_ensemble')
    """
    folder, _, name = place.rpartition("/")
    return f"{folder}/ensemble" if name == "student" else f"{folder}/{name}_ensemble"


def evaluation_place(round_index: int, of: str = "evaluation") -> str:
    """Return the place of a round's evaluation; of tells several in one round apart."""
    return f"{round_name(round_index)}/{of}"


def labels_place(round_index: int | None) -> str:
    """Return the folder of a labelling's shards; round None is the final labelling."""
    return f"{round_or_final(round_index)}/labels"


def shard_place(round_index: int | None, shard_index: int) -> str:
    """Return the place of one shard of raw predictions; round None is the final labelling."""
    return f"{labels_place(round_index)}/shard_{shard_index:04d}"


def calibration_place(round_index: int | None) -> str:
    """Return the place of histograms and thresholds; round None is the final labelling."""
    return f"{round_or_final(round_index)}/calibration"


def pseudo_labels_place(round_index: int | None) -> str:
    """Return the place of filtered pseudo-labels; round None is the final labelling."""
    return f"{round_or_final(round_index)}/pseudo_labels"


def card_place(round_index: int | None) -> str:
    """Return the place of the quality card with its alarms; round None is the final labelling."""
    return f"{round_or_final(round_index)}/card"


def guarded_place(round_index: int | None) -> str:
    """Return the place of pseudo-labels that an alarm changed; round None is the final labelling."""
    return f"{round_or_final(round_index)}/guarded_labels"


def out_of_fold_place() -> str:
    """Return the place of what all folds of a cross-validation give together."""
    return f"{FOLDS}/out_of_fold"


def ensemble_shard_place(shard_index: int) -> str:
    """Return the place of one shard that the fold ensemble labels."""
    return f"{FOLDS}/labels/shard_{shard_index:04d}"


def ensemble_labels_place() -> str:
    """Return the place of the fold ensemble's pseudo-labels."""
    return f"{FOLDS}/pseudo_labels"


def round_or_final(round_index: int | None) -> str:
    """Return the first part of a place: a round's folder, or the final labelling's for None."""
    return FINAL if round_index is None else round_name(round_index)


@dataclass(frozen=True)
class RunLayout:
    """Absolute paths of one run's files.

    Everything inside the folder refers to its neighbours relatively, so it can be moved or copied as a whole.
    """

    run_dir: Path

    @property
    def run_file(self) -> Path:
        """Return run.json: format, run_id, config and versions."""
        return self.run_dir / "run.json"

    @property
    def lock_file(self) -> Path:
        """Return LOCK, which whoever works on the run holds an flock on."""
        return self.run_dir / "LOCK"

    @property
    def cancel_file(self) -> Path:
        """Return CANCEL; while it exists, work on the run stops."""
        return self.run_dir / "CANCEL"

    @property
    def events_file(self) -> Path:
        """Return events.jsonl: what happened, for people; no decision reads it."""
        return self.run_dir / "events.jsonl"

    @property
    def hash_memo(self) -> Path:
        """Return hash_memo.txt: known hashes of unchanged files; may be deleted at any time."""
        return self.run_dir / "hash_memo.txt"

    @property
    def quarantine_dir(self) -> Path:
        """Return quarantine/: what failed its check, each with reason.json."""
        return self.run_dir / "quarantine"

    @property
    def outputs_dir(self) -> Path:
        """Return outputs/: what other programs use, under stable names."""
        return self.run_dir / "outputs"

    @property
    def folds_file(self) -> Path:
        """Return folds.json: which steps a finished cross-validation is made of; absent while one is under way."""
        return self.run_dir / "folds.json"

    @property
    def refit_dir(self) -> Path:
        """Return outputs/refit/: the model of the final refit, which nothing scores."""
        return self.outputs_dir / "refit"

    def round_dir(self, round_index: int) -> Path:
        """Return the folder of a round."""
        return self.run_dir / round_name(round_index)

    def round_file(self, round_index: int) -> Path:
        """Return a round's round.json; it is derived and can be rebuilt."""
        return self.round_dir(round_index) / "round.json"

    def approval_file(self, round_index: int) -> Path:
        """Return a round's approval.json: what a person said before it."""
        return self.round_dir(round_index) / "approval.json"

    def step_dir(self, step: Step) -> Path:
        """Return the folder a step is published as; that it exists means that the step is done."""
        return self.run_dir / step.folder

    def work_dir(self, step: Step) -> Path:
        """Return the folder a step is built in."""
        return self.run_dir / (step.folder + WORK_SUFFIX)

    def resume_dir(self, step: Step) -> Path:
        """Return the folder that outlives failed attempts at a step, e.g. for resume checkpoints and progress.jsonl."""
        return self.run_dir / (step.folder + RESUME_SUFFIX)

    def log_file(self, step: Step) -> Path:
        """Return the log that child processes of a step append to, attempt after attempt."""
        return self.run_dir / LOGS / f"{step.folder}.log"

    def relative(self, path: Path) -> str:
        """Return path relative to the run folder as POSIX, or absolute POSIX when it lies outside."""
        inside = path.is_relative_to(self.run_dir)
        return (path.relative_to(self.run_dir) if inside else path.absolute()).as_posix()
