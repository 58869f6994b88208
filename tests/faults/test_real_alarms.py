"""Reliability by checkpoints, and alarms that change labels, with real tiny models rather than drawn predictions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from segcore.config.load import load_config
from segcore.data.label_maps import LabelMaps
from segcore.process.labellers import labellers
from segcore.pseudo.predictions import read_agreements
from segcore.records import IGNORE_INDEX
from segcore.steps.explain import explain
from segcore.steps.garbage import find_garbage
from segcore.steps.plan import plan_run
from segcore.store.canonical import file_sha256

from .conftest import quick_disk
from .stub_loop import replace_tasks, walk

pytestmark = pytest.mark.slow  # two real trainings and labellings before the first test

SETTINGS = (
    "train.iterations=6", "train.round_iterations=24", "label.num_shards=2", "roles.min_gate_images=1",
    "filter.reliability=checkpoints", "filter.reliable_share=0.5", "loop.gate_level=0.0001",
    "alarms.exploded={action: raise_tau, limit: 0.001}", "alarms.churn={action: freeze, limit: 0.000001}",
)  # fmt: skip


@pytest.fixture(scope="module")
def one_round(tmp_path_factory: pytest.TempPathFactory, write_tiny: Callable[[Path, str], Path]) -> Iterator[Path]:
    """Return the config of a finished run of round 0 and round 1, whose models are real."""
    with quick_disk(tmp_path_factory.mktemp("real")) as folder, pytest.MonkeyPatch.context() as patch:
        replace_tasks(patch.setattr)
        config = write_tiny(folder, "real")
        walk(config, SETTINGS)
        yield config
        labellers.close()


def maps_in(run_dir: Path, place: str) -> dict[str, np.ndarray]:
    """Return the label maps of published pseudo-labels by image."""
    (path,) = run_dir.glob(f"{place}.*/label_maps.arrow")
    with closing(LabelMaps(path)) as maps:
        return {image_id: np.array(maps[image_id]) for image_id in maps.ids()}


def test_the_images_on_which_earlier_checkpoints_agree_come_first_and_alarms_raise_thresholds(one_round: Path) -> None:
    run_dir = one_round.parent / "artifacts" / "real"
    (student,) = run_dir.glob("round_00/student.*")
    kept = [file_sha256(student / f"earlier_{index}.pth") for index in range(2)]
    assert len({*kept, file_sha256(student / "model.pth")}) == 3
    record = json.loads((run_dir / "round_01" / "round.json").read_text())
    assert record["teacher"]["earlier"] == kept

    shards = sorted(run_dir.glob("round_01/labels/shard_*/predictions.parquet"))
    agreement = {key: value for path in shards for key, value in read_agreements(path, "checkpoints")}
    assert all(0 <= value <= 1 for value in agreement.values())
    assert len(set(agreement.values())) > 6
    pool = [image_id for image_id in agreement if not image_id.startswith("val/")]
    best = sorted(pool, key=lambda image_id: (-agreement[image_id], image_id))[: (len(pool) + 1) // 2]
    draft = maps_in(run_dir, "round_01/pseudo_labels")
    assert set(draft) == set(best)
    assert "its teacher's earlier checkpoints" in explain(str(run_dir), best[0])

    raised = maps_in(run_dir, "round_01/guarded_labels")
    for class_id in range(3):
        before, after = (sum(int((found == class_id).sum()) for found in maps.values()) for maps in (draft, raised))
        assert after <= before / 2
    assert all(((raised[key] == draft[key]) | (raised[key] == IGNORE_INDEX)).all() for key in draft)
    assert record["pseudo_labels"]["path"].startswith("round_01/guarded_labels")
    assert any((found != IGNORE_INDEX).any() for found in raised.values())

    plan = plan_run(load_config(one_round, SETTINGS), run_dir)
    assert {step.verdict for step in plan.steps} == {"reuse", "again"}
    assert find_garbage(run_dir) == ()


def test_a_class_that_a_real_second_teacher_calls_otherwise_keeps_the_labels_of_the_first(
    one_round: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_tasks(monkeypatch.setattr)
    run_dir = walk(one_round, (*SETTINGS, "loop.rounds=2", "loop.patience=5"), update=True)
    records = [json.loads((run_dir / f"round_{index:02d}" / "round.json").read_text()) for index in range(3)]
    assert records[2]["teacher"] == records[1]["student"]
    (path,) = run_dir.glob("round_02/guarded_labels.*/card.json")
    kept_from = json.loads(path.read_text())["actions"]["kept_from"]
    assert set(kept_from.values()) == {1}
    good, now = maps_in(run_dir, "round_01/guarded_labels"), maps_in(run_dir, "round_02/guarded_labels")
    assert len(now) > len(good)  # the less reliable images take part
    frozen = [int(class_id) for class_id in kept_from]
    for image_id, label_map in now.items():
        for class_id in frozen:
            if image_id in good:
                np.testing.assert_array_equal(label_map == class_id, good[image_id] == class_id)
            else:
                assert not (label_map == class_id).any()
