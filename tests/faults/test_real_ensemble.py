"""An ensemble of two real networks, small: trained, asked about calib, and voting."""

from __future__ import annotations

from pathlib import Path

import pytest

from segcore.pseudo.predictions import read_predictions
from segcore.pseudo.votes import Votes, read_votes
from segcore.steps.ensemble_files import Member, read_ensemble
from segcore.steps.finished import existing_run, published_index
from segcore.steps.index import images_of
from segcore.steps.run import Run
from segcore.store.layout import member_place, student_place, votes_place

from .conftest import keep_few
from .stub_loop import replace_tasks, walk

SHORT = (
    "train.iterations=2", "train.checkpoint_every=2", "loop.rounds=0", "loop.gate_resamples=100", "label.num_shards=1",
    "roles.gate_share=0.5", "roles.min_gate_images=1", "ensemble.members=[{head_channels: 8, weights: null}]",
)  # fmt: skip


@pytest.mark.slow
def test_its_label_maps_are_what_the_votes_of_its_members_give(tmp_path: Path, write_tiny, monkeypatch) -> None:
    replace_tasks(monkeypatch.setattr)
    config = write_tiny(tmp_path, "tiny")
    keep_few(tmp_path)
    run = existing_run(str(walk(config, SHORT)))
    calib = {image.image_id for image in images_of(run, published_index(run), "calib")}
    members = read_ensemble(run.path / "outputs" / "ensemble" / "ensemble.json")
    assert sum(member.share for member in members) == pytest.approx(1)
    shard = next(run.path.glob("final/labels/shard_0000.*/predictions.parquet"))
    found = {prediction.image_id: prediction.label_map for prediction in read_predictions(shard, calib)}
    assert set(found) == calib
    said = {member.model: votes_of(run, member) for member in members}
    for image_id, label_map in found.items():
        joint = sum(member.share * said[member.model][image_id].values.astype(float) for member in members)
        assert said[members[0].model][image_id].step_px == 2
        assert (joint.argmax(axis=0) == label_map[::2, ::2]).mean() > 0.99


def votes_of(run: Run, member: Member) -> dict[str, Votes]:
    """Return what a member of round 0 said on calib, by image_id."""
    place = votes_place(member_place(student_place(0), member.model), member.model)
    path = next(run.path.glob(f"{place}.*/*.votes.parquet"))
    return {votes.image_id: votes for votes in read_votes(path)}
