import re

import pytest

from segcore.outputs.reliability import HEADER, MARGIN, SIDE, calibration_report

ECE = {"point": 0.0512, "low": 0.03, "high": 0.08}
BIN = {"confidence": 0.75, "calibrated": 0.5, "accuracy": 0.5, "low": 0.25, "high": 1.0, "share": 0.2}


def entry_of(**changes):
    return {
        "num_images": 12, "num_pixels": 900, "accuracy": 0.8, "confidence": 0.9, "bins": [BIN],
        "ece": {"before": ECE, "after": None},
    } | changes  # fmt: skip


def card_of(temperature=1.5, **changes):
    unseen = entry_of(num_pixels=0, bins=[])
    return {
        "temperature": temperature,
        "all": entry_of(**changes),
        "classes": [{"name": "can", **entry_of()}, {"name": "bag", **unseen}],
    }


def test_each_nine_takes_as_much_of_an_axis_as_the_one_before():
    ticks = dict(calibration_report(card_of()).ticks)
    inner = SIDE - 2 * MARGIN
    assert [place for place, share in ticks.items() if share in ("0.9", "0.99", "0.999")] == pytest.approx(
        [MARGIN + inner / 3, MARGIN + inner * 2 / 3, MARGIN + inner]
    )


def test_a_point_lies_at_its_confidence_and_accuracy_with_y_downwards():
    point = calibration_report(card_of()).diagrams[0].points[0]
    half = next(place for place, share in calibration_report(card_of()).ticks if share == "0.5")
    assert (point.x, point.x_after) == (pytest.approx(2 * half - MARGIN), half)
    assert (point.y, point.y_high) == (SIDE - half, MARGIN)
    assert point.y_low > point.y > point.y_high
    assert "right 0.500 (0.250 … 1.000), 20.0% of the pixels" in point.title


def test_classes_that_are_never_predicted_have_no_diagram():
    report = calibration_report(card_of())
    assert [diagram.title for diagram in report.diagrams] == ["all classes", "can"]
    assert report.diagrams[1].cells == ("can", "12", "0.900", "0.800", "0.051 (0.030 … 0.080)", "–")
    assert len(report.diagrams[1].cells) == len(HEADER)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "12 calib images the mean confidence is 0.900 and 0.800 of the pixels are right: too sure by 0.100"),
        ({"confidence": 0.7, "num_images": 1}, "1 calib image the mean .* too unsure by 0.100 on the mean"),
        ({"confidence": 0.801}, "neither too sure nor too unsure"),
        ({"ece": {"before": ECE, "after": ECE}}, r"temperature 1.50, which leaves an error of 0.051 \(0.030 … 0.080\)"),
        ({"num_pixels": 0}, "No calib image has a scored pixel"),
    ],
)
def test_the_summary_says_on_which_side_confidence_errs_and_what_scaling_leaves(changes, sentence):
    assert re.search(sentence, calibration_report(card_of(**changes)).summary)
