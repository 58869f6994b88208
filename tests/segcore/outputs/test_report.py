import base64
import functools
import re
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from segcore.outputs.reliability import calibration_report
from segcore.outputs.report import render_report, report_html
from segcore.outputs.report_chart import miou_chart, ticks_between
from segcore.outputs.report_data import Overlay, PseudoLabelReport, ReportData, RoundReport
from segcore.outputs.report_pictures import paint_classes, picture_row
from segcore.outputs.report_text import caveats, duration, headline, iou, percent, signed
from segcore.pseudo.histograms import CalibHistogram
from segcore.records import GateDecision, Interval, Score
from segcore.trust.attribution import Attribution
from segcore.trust.calibration import calibration_card

NAMES = ("background", "bottle", "battery")
PROMISES = ("promised", "no promise", "not labelled")
PALETTE = ((10, 10, 10), (200, 40, 40), (40, 40, 200))


def score_of(miou, num_excluded=0):
    class_iou = (miou + 0.111, miou - 0.0774, None)
    return Score(Interval(miou, miou - 0.0333, miou + 0.0444), class_iou, 0.9137, 0.7291, 47, num_excluded)


PARTS = Attribution(
    whole=Interval(0.052, 0.01, 0.09),
    longer=Interval(0.02, -0.01, 0.05),
    pseudo=Interval(0.032, 0.001, 0.06),
    num_images=47,
    same_schedule=False,
)


def round_of(index, miou, outcome="inconclusive"):
    delta = None if index == 0 else Interval(0.0123, -0.01, 0.03)
    pseudo = PseudoLabelReport((0.9512, 0.8023, 0.5), (0.637, 0.421, None), 0.3519, 163, PROMISES) if index else None
    decision = GateDecision("first" if index == 0 else outcome, (f"reason of round {index}",), delta)
    return RoundReport(
        index, score_of(miou), decision, {"train": 61.2, "label": 3.4} if index else {"train": 30.1}, pseudo
    )


def data_of(**changes):
    fields = {
        "run_id": "cans",
        "created": "2026-01-02 03:04 UTC",
        "config_yaml": "loop:\n  rounds: 2\n",
        "class_names": NAMES,
        "palette": PALETTE,
        "rounds": (round_of(0, 0.5512), round_of(1, 0.6034, "improved"), round_of(2, 0.5921, "worse")),
        "winner_index": 1,
        "stop_reason": "all 2 rounds allowed after round 0 are done",
        "role_counts": {"train": 31, "gate": 47},
        "num_dropped": 3,
        "num_quarantined": 2,
        "transductive": "Test images were not used.",
        "versions": {"torch": "2.13.0"},
        "machine": "2 cores",
        "commit": "abc1234",
        "reproduce": "segloop run configs/cans.yaml",
    }
    return ReportData(**(fields | changes))


def overlay_of(title="a.jpg"):
    image = np.full((40, 60, 3), 128, np.uint8)
    label_map = np.zeros((40, 60), np.uint8)
    label_map[:20] = 1
    label_map[30:] = 255
    return Overlay(title, image, label_map, label_map, np.linspace(0, 1, 2400, dtype=np.float32).reshape(40, 60))


class Page(HTMLParser):
    """Collects tags, what they would load, and visible text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.loads, self.text, self.open = set(), [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.open.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data):
        self.text.append(data)


def text_of(html):
    return re.sub(r"\s+", " ", " ".join(Page(html).text))


def test_the_page_loads_nothing_from_anywhere(tmp_path):
    out = tmp_path / "report.html"
    render_report(data_of(overlays=(overlay_of(),), control=score_of(0.57)), out)
    html = out.read_text(encoding="utf-8")
    page = Page(html)
    assert page.loads
    assert all(value.startswith("data:image/") for value in page.loads)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "form", "base"}
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def calibration_of():
    """A teacher that is too sure of itself, on two images."""
    cells = np.array([[0, 0, 50, 900, 700], [1, 0, 30, 900, 500], [1, 1, 20, 30, 9]]).T
    histogram = CalibHistogram(("a", "b"), *cells)
    return calibration_report(calibration_card(histogram, ("background", "bottle <b>", "battery"), 0))


def test_the_calibration_is_shown_with_a_diagram_for_all_and_for_each_predicted_class():
    html = report_html(data_of(calibration=calibration_of()))
    text = text_of(html)
    assert "On 2 calib images the mean confidence is" in text
    assert "too sure by" in text
    assert re.findall(r'aria-label="reliability diagram of ([^"]*)"', html) == [
        "all classes", "background", "bottle &lt;b&gt;",
    ]  # fmt: skip
    assert html.count('<circle class="ring" cx=') >= 5


def test_without_a_calibration_there_is_no_section_of_it():
    assert "Calibration" not in text_of(report_html(data_of()))


@functools.cache
def default_text():
    return text_of(report_html(data_of()))


@pytest.mark.parametrize(
    "shown",
    [
        "0.603",
        "0.570 … 0.648",
        "+0.052 against round 0 (0.551)",
        "+0.012",
        "0.914",
        "0.729",
        "0.662 0.714 0.703",
        "0.474 0.526 0.515",
        "0.951 promised 63.7 %",
        "0.802 no promise 42.1 %",
        "35.2 % of the pixels, 163 images",
        "reason of round 0",
        "reason of round 2",
        "train 30.1 s 1 min 01 s 1 min 01 s 2 min 32 s",
        "label – 3.4 s 3.4 s 6.8 s",
        "sum 30.1 s 1 min 05 s 1 min 05 s 2 min 39 s",
        "train 31",
        "gate 47",
        "duplicates of labelled ones: 3",
        "unreadable or oversized: 2",
        "Test images were not used.",
        "stopped because: all 2 rounds allowed",
        "segloop run configs/cans.yaml",
        "torch 2.13.0",
        "abc1234",
        "loop: rounds: 2",
    ],
)
def test_what_is_shown_equals_the_data(shown):
    assert shown in default_text()


def test_where_no_round_beat_the_first_the_last_one_is_set_against_it():
    rounds = (round_of(0, 0.6), round_of(1, 0.55), round_of(2, 0.5))
    text = text_of(report_html(data_of(rounds=rounds, winner_index=0)))
    assert "Last column: last round against round 0." in text
    assert "0.600 0.550 0.500 −0.100" in text


HOSTILE = "<script>alert('x')</script>\"><img src=http://evil.example/a.png onerror=alert(1)>"


@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": HOSTILE},
        {"class_names": ("background", HOSTILE, "battery")},
        {"overlays": (overlay_of(HOSTILE),)},
        {"stop_reason": HOSTILE, "machine": HOSTILE, "reproduce": HOSTILE, "config_yaml": HOSTILE, "commit": HOSTILE},
        {"alarms": (HOSTILE,), "transductive": HOSTILE, "versions": {HOSTILE: HOSTILE}, "role_counts": {HOSTILE: 1}},
    ],
)
def test_hostile_text_stays_text(changes):
    html = report_html(data_of(**changes))
    page = Page(html)
    assert "script" not in page.tags
    assert all(value.startswith("data:image/") for value in page.loads)
    assert "<script>alert('x')</script>" in "".join(page.text)


def test_the_headline_names_score_interval_images_and_gain():
    assert headline(data_of()) == (
        "Round 1 is the best of 3: gate mIoU 0.603 (95 % interval 0.570 … 0.648) on 47 images, "
        "0.052 above round 0 (labelled images only, 0.551)."
    )


def test_a_class_that_the_winner_lost_is_a_caveat():
    best = round_of(1, 0.6034, "improved")
    best = replace(best, decision=replace(best.decision, harmed=("battery",)))
    said = " ".join(caveats(data_of(rounds=(round_of(0, 0.5), best))))
    assert "significantly worse than its teacher at battery" in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "that score is optimistic; there is no report set"),
        ({}, "The gate accepted this round"),
        ({}, "No control was trained"),
        ({}, "only 47 images"),
        ({"rounds": (round_of(0, 0.5), round_of(1, 0.6))}, "this round is inconclusive against the best before it"),
        ({"control": score_of(0.5712)}, "0.616), on other images than round 0, so the gain cannot be divided"),
        (
            {"control": score_of(0.5712), "attribution": PARTS},
            "of the change of +0.052 (+0.010 … +0.090), +0.020 (−0.010 … +0.050) is longer training and "
            "+0.032 (+0.001 … +0.060) pseudo-labels (95 % intervals on 47 images",
        ),
        (
            {"control": score_of(0.5712), "attribution": replace(PARTS, same_schedule=True)},
            "is another seed (the schedule is the same, so this is chance)",
        ),
        ({"report_score": score_of(0.58)}, "On the report set, used once: mIoU 0.580"),
        ({"rounds": (round_of(0, 0.5), round_of(1, 0.6)), "report_score": score_of(0.58)}, "the number to quote"),
    ],
)
def test_the_caveats_say_what_the_headline_does_not(changes, words):
    assert words in " ".join(caveats(data_of(**changes)))


def test_a_run_that_gained_nothing_says_so():
    data = data_of(winner_index=0)
    assert headline(data).startswith("No round beat round 0, labelled images only: gate mIoU 0.551")
    assert "accepted" not in " ".join(caveats(data))


def test_a_run_of_one_round_has_a_report_too():
    html = report_html(data_of(rounds=(round_of(0, 0.5512),), winner_index=0))
    assert "Trained on labelled images only: gate mIoU 0.551" in html
    assert "Pseudo-labels</h2>" not in html


def test_equal_data_gives_equal_bytes():
    assert report_html(data_of(overlays=(overlay_of(),))) == report_html(data_of(overlays=(overlay_of(),)))


def test_pictures_are_image_truth_prediction_and_confidence():
    row = picture_row(overlay_of(), PALETTE)
    assert [panel.caption for panel in row.panels] == ["image", "truth", "prediction", "confidence"]
    assert row.class_ids == (0, 1)
    encoded = base64.b64decode(row.panels[2].uri.split(",")[1])
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (40, 60, 3)


def test_class_colours_lie_over_the_photo_and_ignore_has_none():
    overlay = overlay_of()
    painted = paint_classes(overlay.image, overlay.label_map, PALETTE)
    assert painted[5, 5].tolist() == [int(0.6 * c + 0.4 * 128) for c in PALETTE[1]]
    assert len(set(painted[35, 5].tolist())) == 1  # grey
    assert painted[19, 5].tolist() == [255, 255, 255]  # outline


def test_pictures_are_never_larger_than_320_px_and_never_enlarged():
    image = np.zeros((1000, 500, 3), np.uint8)
    row = picture_row(Overlay("x", image, np.zeros((1000, 500), np.uint8)), PALETTE)
    encoded = base64.b64decode(row.panels[0].uri.split(",")[1])
    assert cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR).shape == (320, 160, 3)
    assert [panel.caption for panel in row.panels] == ["image", "prediction"]


def test_points_lie_inside_the_chart_and_higher_scores_are_higher():
    chart = miou_chart(data_of(control=score_of(0.2)))
    points = chart.points
    assert all(0 < point.y_high <= point.y <= point.y_low <= chart.bottom for point in points)
    assert points[1].y < points[2].y < points[0].y
    assert [point.is_winner for point in points] == [False, True, False]
    assert 0 < chart.control.y <= chart.bottom


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (0, 1), (0.5512, 0.5513), (0.1, 0.83)])
def test_ticks_enclose_what_they_measure(low, high):
    ticks = ticks_between(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert 2 <= len(ticks) <= 8


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (duration(None), "–"),
        (duration(42.34), "42.3 s"),
        (duration(59.97), "1 min 00 s"),
        (duration(185), "3 min 05 s"),
        (duration(7620), "2 h 07 min"),
        (signed(-0.0321), "−0.032"),
        (signed(-0.0001), "+0.000"),
        (iou(None), "–"),
        (percent(0.5), "50.0 %"),
    ],
)
def test_numbers_read_well(shown, expected):
    assert shown == expected
