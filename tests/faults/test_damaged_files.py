"""Rows 4 and 5: a published file cut short, with one bit flipped, or gone. That step is made again, and no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from segcore.store.events import read_events
from segcore.store.manifest import read_manifest
from segcore.store.publish import published_candidates
from segcore.store.verify import verify_run

from .stub_loop import SMALL, walk

FILES = [
    ("index", "images.parquet"),
    ("round_00/student", "model.pth"),
    ("round_01/student", "lineage.json"),
    ("round_01/labels/shard_0001", "predictions.parquet"),
    ("round_01/calibration", "calib_histogram.parquet"),
    ("round_02/pseudo_labels", "label_maps.arrow"),
    ("round_02/evaluation", "confusion.parquet"),
]
PLACES = [place for place, _ in FILES]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])  # of a manifest: the last brace


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


DAMAGE: list[Callable[[Path], None]] = [cut, flip, Path.unlink]


def damaged_and_resumed(finished: Path, run_id: str, place: str, name: str, damage: Callable[[Path], None]) -> Path:
    """Damage a file of a place in a copied run, go on with the run; return its folder."""
    run_dir = finished / "artifacts" / run_id
    ((folder, _),) = published_candidates(run_dir, place)
    damage(folder / name)
    num_before = len(list(read_events(run_dir)))
    walk(finished / "tiny.yaml", SMALL, run_id=run_id)
    new = list(read_events(run_dir))[num_before:]
    assert [event["place"] for event in new if event["event"] == "step_done"] == [place]
    return run_dir


def digests(run_dir: Path) -> dict[str, str]:
    """Return the digest of everything published, by folder."""
    found = [path.parent for path in run_dir.glob("**/manifest.json") if "quarantine" not in path.parts]
    return {folder.relative_to(run_dir).as_posix(): read_manifest(folder).digest for folder in found}


@pytest.mark.parametrize("damage", DAMAGE, ids=["cut", "bit flipped", "deleted"])
@pytest.mark.parametrize(("place", "name"), FILES, ids=PLACES)
def test_a_damaged_file_costs_its_own_step_alone_and_the_digests_stay(
    finished: Path, finished_copy: str, place: str, name: str, damage: Callable[[Path], None]
) -> None:
    run_dir = damaged_and_resumed(finished, finished_copy, place, name, damage)
    (aside,) = (run_dir / "quarantine").iterdir()
    reason = json.loads((aside / "reason.json").read_text())
    assert reason["path"].startswith(f"{place}.")
    assert name in reason["reason"]
    assert digests(run_dir) == digests(finished / "artifacts" / "tiny")
    assert verify_run(run_dir).whole


@pytest.mark.parametrize("damage", DAMAGE, ids=["cut", "bit flipped", "deleted"])
@pytest.mark.parametrize("place", PLACES)
def test_a_damaged_manifest_costs_its_own_step_alone_and_the_digests_stay(
    finished: Path, finished_copy: str, place: str, damage: Callable[[Path], None]
) -> None:
    run_dir = damaged_and_resumed(finished, finished_copy, place, "manifest.json", damage)
    assert len(list((run_dir / "quarantine").iterdir())) == 1
    assert digests(run_dir) == digests(finished / "artifacts" / "tiny")


def test_a_step_that_is_gone_altogether_is_made_again_alone(finished: Path, finished_copy: str) -> None:
    run_dir = finished / "artifacts" / finished_copy
    ((folder, _),) = published_candidates(run_dir, "round_01/evaluation")
    folder.rename(run_dir.with_name("elsewhere"))
    num_before = len(list(read_events(run_dir)))
    walk(finished / "tiny.yaml", SMALL, run_id=finished_copy)
    new = list(read_events(run_dir))[num_before:]
    assert [event["place"] for event in new if event["event"] == "step_done"] == ["round_01/evaluation"]
    assert digests(run_dir) == digests(finished / "artifacts" / "tiny")
