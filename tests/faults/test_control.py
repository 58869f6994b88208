"""The control student: labelled images alone, otherwise trained as the winner; what the report makes of it."""

from __future__ import annotations

from pathlib import Path

from segcore.store.manifest import read_manifest

from .stub_loop import SMALL, walk


def test_the_control_has_the_winners_schedule_and_seed_and_the_report_divides_the_gain(
    few_images: Path, stub_programs: None
) -> None:
    run_dir = walk(few_images, (*SMALL, "loop.control=true", "train.round_iterations=10"))
    (control,) = run_dir.glob("round_*/control.*")
    (student,) = control.parent.glob("student.*")
    own, winners = dict(read_manifest(control).inputs), dict(read_manifest(student).inputs)
    assert (own.pop("pseudo_labels"), own.pop("pool")) == (None, None)
    assert winners.pop("pseudo_labels") is not None
    winners.pop("pool")
    assert own == winners
    assert own["iterations"] == 10
    report = (run_dir / "outputs" / "report.html").read_text()
    assert "What the gain is made of" in report
    assert "training longer (control against round 0)" in report


def test_with_the_schedule_of_round_0_the_control_shows_what_another_seed_does(
    few_images: Path, stub_programs: None
) -> None:
    run_dir = walk(few_images, (*SMALL, "loop.control=true"))
    assert "another seed: chance" in (run_dir / "outputs" / "report.html").read_text()
