from dataclasses import replace
from pathlib import Path

from segcore.outputs.folds_report import (
    FoldReport,
    FoldsReport,
    SuspectReport,
    caveats,
    headline,
    render_folds,
)
from segcore.records import Interval, Score


def score_of(miou: float, num_images: int, num_excluded: int = 0) -> Score:
    return Score(Interval(miou, miou - 0.05, miou + 0.05), (miou, None), 0.9, 0.8, num_images, num_excluded)


def fold(number: int, is_member: bool = True) -> FoldReport:
    delta = Interval(-0.1, -0.2, 0.05 if is_member else -0.01)
    return FoldReport(number, f"cans-fold{number}", 1, score_of(0.6, 40), delta, is_member)


DATA = FoldsReport(
    run_id="cans-cv",
    created="2026-01-02 03:04 UTC",
    class_names=("background", "<b>can"),
    palette=((0, 0, 0), (200, 0, 0)),
    score=score_of(0.612, 120),
    folds=(fold(0), fold(1), fold(2)),
    suspects=(SuspectReport("<img>.jpg", 1, 0.25, "background", "<b>can"),),
    num_suspects=7,
    transductive="Inductive: test images were not trained on.",
    num_labelled=0,
    versions={"python": "3.11"},
)


def test_the_headline_has_the_interval_and_says_who_predicted_each_image():
    assert headline(DATA) == (
        "Out-of-fold mIoU 0.612 (95 % interval 0.562 … 0.662) on 120 labelled images, each predicted by the one of 3 "
        "models that has never seen it."
    )


def test_what_the_number_is_not_is_always_said_and_the_rest_where_it_holds():
    assert len(caveats(DATA)) == 2
    assert "trained without 1/3 of the labels" in caveats(DATA)[0]
    assert "not scored" in caveats(DATA)[0]
    few = replace(DATA, score=score_of(0.6, 30, num_excluded=4), folds=(fold(0), fold(1, is_member=False), fold(2)))
    text = " ".join(caveats(few))
    assert "Left out of the ensemble: the model of fold 1," in text
    assert "4 labelled images are in no score" in text
    assert "only 30 labelled images" in text


def test_the_page_is_escaped_and_equal_data_give_equal_bytes(tmp_path: Path):
    render_folds(DATA, tmp_path / "a.html")
    render_folds(DATA, tmp_path / "b.html")
    page = (tmp_path / "a.html").read_text()
    assert (tmp_path / "b.html").read_text() == page
    assert "<b>can" not in page
    assert "&lt;img&gt;.jpg" in page
    assert "7 images have such pixels" in page
    assert "http" not in page.replace("http-equiv", "")
