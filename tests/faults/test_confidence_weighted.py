"""The teacher's confidence on its way from the filter, past a guard, to the student's job."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segcore.data.label_maps import LabelMaps
from segcore.process.jobs import TrainJob
from segcore.store.manifest import read_manifest

from .stub_loop import SMALL, walk

ASKED = "train.loss.confidence_weighted=true"


def test_confidence_is_written_beside_the_labels_it_belongs_to_and_is_in_the_students_key(
    few_images: Path, jobs: dict[str, TrainJob]
) -> None:
    run_dir = walk(few_images, (*SMALL, "loop.rounds=1", "filter.policy=fixed", "filter.tau=0.9999", ASKED))
    assert jobs["round_00/student"].pseudo_confidence is None
    path = Path(str(jobs["round_01/student"].pseudo_confidence))
    assert path.parent == Path(str(jobs["round_01/student"].pseudo_maps)).parent
    labels, levels = LabelMaps(path.parent / "label_maps.arrow"), LabelMaps(path)
    assert labels.ids() == levels.ids()
    for image_id in labels.ids():
        np.testing.assert_array_equal(levels[image_id] > 0, labels[image_id] != 255)
    sha256 = read_manifest(path.parent).files["confidence.arrow"].sha256
    (student,) = run_dir.glob("round_01/student.*")
    assert read_manifest(student).inputs["pseudo_confidence"] == sha256


def test_without_being_asked_for_it_is_nowhere_and_asking_later_filters_again_and_labels_nothing_again(
    few_images: Path, jobs: dict[str, TrainJob]
) -> None:
    run_dir = walk(few_images, (*SMALL, "loop.rounds=1"))
    assert all(job.pseudo_confidence is None for job in jobs.values())
    assert not list(run_dir.rglob("confidence.arrow"))
    (labels,), (student,) = run_dir.glob("round_01/pseudo_labels.*"), run_dir.glob("round_01/student.*")
    assert "confidence" not in read_manifest(labels).inputs
    assert "pseudo_confidence" not in read_manifest(student).inputs
    labelled = set(run_dir.glob("round_01/labels/*"))
    walk(few_images, (*SMALL, "loop.rounds=1", ASKED), update=True)
    assert len(list(run_dir.glob("round_01/pseudo_labels.*/confidence.arrow"))) == 1
    assert labelled == set(run_dir.glob("round_01/labels/*"))
    assert labelled
