"""A round's student that is several models: each trained by itself, then joined to vote as one.

The votes step keeps what a model says on calib, the ensemble step chooses members and weights from that (never from the
gate) and publishes them as one checkpoint. Without ensemble.members none of this takes place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from segcore.data.label_maps import LabelMaps
from segcore.pseudo.build import write_json
from segcore.pseudo.votes import read_votes, votes_path
from segcore.records import Checkpoint, ImageRecord, StepOutput
from segcore.steps.earlier import KEPT
from segcore.steps.ensemble_files import ENSEMBLE, Member, ensemble_text, member_of
from segcore.steps.index import class_map_of, ground_truth_path, images_of
from segcore.steps.label import PREDICTIONS, Prediction, predict, prediction_inputs
from segcore.steps.round_models import model_of
from segcore.steps.run import Run, ensure_step
from segcore.steps.train import LINEAGE, MODEL_CONFIG, WEIGHTS, Student, TrainSpec
from segcore.store.canonical import file_sha256
from segcore.store.durable import place_file
from segcore.store.layout import ensemble_place, member_place, votes_place
from segcore.store.manifest import read_manifest
from segcore.store.publish import Published
from segcore.store.steps import Step
from segcore.trust.lineage import Lineage, extend, merge
from segcore.trust.soft_vote import VoteChoice, VotedImage, choose_weights

logger = logging.getLogger(__name__)

VOTES_VERSION, ENSEMBLE_VERSION = 1, 1
VOTE_PX = 2048  # pixels of a calib image whose probabilities are kept
CHOICE = "choice.json"


@dataclass(frozen=True)
class TrainedMember:
    """One trained model. train: how it was trained, train.member tells which of the config's models it is."""

    train: TrainSpec
    student: Student


@dataclass(frozen=True)
class Votes:
    """Published votes of a model on calib."""

    output: StepOutput


@dataclass(frozen=True)
class JoinSpec:
    """Models to be joined. train: of model itself. members: in the order of the config. votes: of each on calib.

    votes are () with equal weights, or given ones. given: weights of all models that were chosen before; None: choose.
    """

    train: TrainSpec
    members: tuple[TrainedMember, ...]
    votes: tuple[Votes, ...] = ()
    given: tuple[float, ...] | None = None


def has_members(run: Run) -> bool:
    """Return whether students are ensembles."""
    return bool(run.config.ensemble.members)


def member_specs(spec: TrainSpec, given: tuple[float, ...] | None = None) -> tuple[TrainSpec, ...]:
    """Return the training of every model, without those whose given weight is 0. spec: of model itself."""
    return tuple(
        replace(spec, member=model, place=member_place(spec.place, model), start=member_of(spec.run, spec.start, model))
        for model in range(num_models(spec.run))
        if given is None or given[model] > 0
    )


def num_models(run: Run) -> int:
    """Return how many models a run trains each round."""
    return 1 + len(run.config.ensemble.members)


def voters(members: tuple[TrainedMember, ...], given: tuple[float, ...] | None) -> tuple[TrainedMember, ...]:
    """Return the models that are to be asked about calib: all where weights are to be chosen there, else none."""
    train = members[0].train
    chosen_here = given is None and train.run.config.ensemble.weights == "calib"
    return members if chosen_here and calib_images(train) else ()


def calib_images(spec: TrainSpec) -> tuple[ImageRecord, ...]:
    """Return the images that weights are chosen on, in the order of their ids."""
    return tuple(sorted(images_of(spec.run, spec.index, "calib"), key=lambda image: image.image_id))


def votes_step(spec: TrainedMember) -> Step:
    """Return the votes step: what decides predictions on calib."""
    run, checkpoint = spec.train.run, replace(spec.student.checkpoint, earlier=())
    inputs = {**prediction_inputs(run, checkpoint, calib_images(spec.train)), "vote_px": VOTE_PX}
    return Step("votes", VOTES_VERSION, votes_place(spec.train.place, spec.train.member), inputs)


def ask(spec: TrainedMember) -> Votes:
    """Have a model vote on calib, or reuse its votes."""
    run, step = spec.train.run, votes_step(spec)
    log_path = run.layout.log_file(step)
    published = ensure_step(run, step, lambda work: build_votes(spec, work, log_path))
    return Votes(published.output(run.path))


def build_votes(spec: TrainedMember, work: Path, log_path: Path) -> dict[str, Any]:
    """Predict calib; of the predictions only the votes beside them are kept."""
    train, checkpoint = spec.train, replace(spec.student.checkpoint, earlier=())
    what = Prediction(calib_images(train), work, log_path, vote_px=VOTE_PX)
    value = predict(train.run, train.index, checkpoint, what)
    (work / PREDICTIONS).unlink()
    return value


def ensemble_step(spec: JoinSpec) -> Step:
    """Return the ensemble step: weights and configs of the models, and what decides their shares."""
    run, index = spec.train.run, spec.train.index
    inputs = {
        "members": [member_inputs(member) for member in spec.members],
        "ensemble": {"weights": run.config.ensemble.weights if spec.given is None else list(spec.given)},
        "votes": [votes.output.digest for votes in spec.votes],
        "calib": index.digests["calib"] if spec.votes else None,
    }
    return Step("ensemble", ENSEMBLE_VERSION, ensemble_place(spec.train.place), inputs)


def member_inputs(member: TrainedMember) -> dict[str, Any]:
    """Return what identifies a trained model and its place in the config."""
    checkpoint = member.student.checkpoint
    return {
        "model": member.train.member,
        "weights": checkpoint.digest,
        "model_config": file_sha256(member.train.run.path / checkpoint.config),
        "earlier": list(checkpoint.earlier),
    }


def join(spec: JoinSpec) -> Student:
    """Join the models of a round to one student, or reuse it."""
    run = spec.train.run
    published = ensure_step(run, ensemble_step(spec), lambda work: build(spec, work))
    value: Any = published.value
    if not published.reused:
        shares = ", ".join(f"{share:.2f}" for share in value["shares"])
        logger.info("%s: %d models, weights %s", ensemble_place(spec.train.place), len(value["shares"]), shares)
    return joined(run, published)


def joined(run: Run, published: Published) -> Student:
    """Return a published ensemble as a student."""
    folder = run.layout.relative(published.path)
    value: Any = published.value
    path, lineage = f"{folder}/{ENSEMBLE}", f"{folder}/{LINEAGE}"
    checkpoint = Checkpoint(path, value["weights_sha256"], path, lineage, tuple(value["earlier_sha256"]))
    return Student(checkpoint, published.output(run.path))


def build(spec: JoinSpec, work: Path) -> dict[str, Any]:
    """Write ensemble.json, what spoke for its shares, lineage, and the files of every member."""
    run, choice = spec.train.run, chosen(spec)
    shares = shares_by(spec, choice)
    voting = [member for member in spec.members if shares[member.train.member] > 0]
    lineage = Lineage()
    for member in voting:
        checkpoint = member.student.checkpoint
        own = Lineage.read(run.path / checkpoint.lineage)
        lineage = merge(lineage, extend(own, (), (), checkpoint.digest))
        place_member(run, checkpoint, work / file_of(member, shares).folder)
    lineage.write(work / LINEAGE)
    (work / ENSEMBLE).write_text(ensemble_text([file_of(member, shares) for member in voting]), encoding="ascii")
    write_json(work / CHOICE, choice_document(spec, shares, choice))
    trained: Any = read_manifest(run.path / spec.members[0].student.output.path).value
    return {
        "weights_sha256": file_sha256(work / ENSEMBLE),
        "shares": list(shares),
        "earlier_sha256": [digest for member in voting for digest in member.student.checkpoint.earlier],
        "num_pseudo": trained["num_pseudo"],
    }


def file_of(member: TrainedMember, shares: Sequence[float]) -> Member:
    """Return what ensemble.json says of a model."""
    inputs, model = member_inputs(member), member.train.member
    return Member(model, shares[model], inputs["weights"], inputs["model_config"])


def shares_by(spec: JoinSpec, choice: VoteChoice | None) -> tuple[float, ...]:
    """Return the share of every model of the config: given, chosen, or equal."""
    if spec.given is not None:
        return spec.given
    return (1 / len(spec.members),) * len(spec.members) if choice is None else choice.weights


def place_member(run: Run, checkpoint: Checkpoint, folder: Path) -> None:
    """Put the files of one model into its folder; hard links where the file system can."""
    folder.mkdir()
    source = (run.path / checkpoint.path).parent
    place_file(source / WEIGHTS, folder / WEIGHTS)
    place_file(source / MODEL_CONFIG, folder / MODEL_CONFIG)
    for kept in sorted(source.glob(KEPT)):
        place_file(kept, folder / kept.name)


def chosen(spec: JoinSpec) -> VoteChoice | None:
    """Return the choice of weights on calib; None where there is nothing to choose, or from."""
    if not spec.votes:
        return None
    run, index = spec.train.run, spec.train.index
    images = voted_images(spec)
    return choose_weights(images, len(spec.members), class_map_of(run, index).num_classes) if images else None


def voted_images(spec: JoinSpec) -> list[VotedImage]:
    """Return what all models say on calib beside the truth, of the images that each of them could label."""
    run = spec.train.run
    paths = [run.path / votes.output.path / votes_path(Path(PREDICTIONS)) for votes in spec.votes]
    said = [{votes.image_id: votes for votes in read_votes(path)} if path.exists() else {} for path in paths]
    images = []
    with closing(LabelMaps(ground_truth_path(run, spec.train.index))) as truth:
        for image_id in sorted(set.intersection(*map(set, said))):
            votes = [of_model[image_id] for of_model in said]
            step = votes[0].step_px
            on_grid = np.ascontiguousarray(truth[image_id][::step, ::step])
            images.append(VotedImage(np.stack([each.values for each in votes]), on_grid))
    return images


def choice_document(spec: JoinSpec, shares: Sequence[float], choice: VoteChoice | None) -> dict[str, Any]:
    """Return what choice.json tells of the ensemble, for people and the report."""
    config = spec.train.run.config
    networks = [model_of(config, spec.train.round_index, model) for model in range(num_models(spec.train.run))]
    return {
        "models": [network.preset or Path(str(network.config)).stem for network in networks],
        "shares": list(shares),
        "rule": "given" if spec.given is not None else config.ensemble.weights,
        "calib": None if choice is None else asdict(choice),
    }


def shares_of(run: Run, checkpoint: Checkpoint) -> tuple[float, ...]:
    """Return the share of every model in a published ensemble, 0.0 for those that are no members."""
    value: Any = read_manifest((run.path / checkpoint.path).parent).value
    return tuple(float(share) for share in value["shares"])
