from pathlib import Path

import pytest

from benchmarks.garbage6 import once
from benchmarks.garbage6_page import page
from benchmarks.garbage6_promises import pooled, promises
from benchmarks.garbage6_recipes import ISSUE, RECIPES, schedules
from benchmarks.garbage6_rows import Row, score_row

CLASSES = ("background", "glass")
SHORT = ("train.iterations=150", "train.round_iterations=200", "loop.rounds=1")


def score(miou, glass=0.5):
    return {"miou": miou, "class_iou": [0.9, glass]}


def promised(point, low):
    return {"point": point, "low": low, "high": 1.0}


def looped(*mious, outcomes=("first", "improved")):
    """A policy's note: glass is promised 0.9 and is right on 0.6 of 100 pixels, background on 0.9 of 300."""
    return {
        "rounds": [score(miou) for miou in mious],
        "outcomes": list(outcomes),
        "reasons": [],
        "promised": [
            {"name": "background", "tau": 0.5, "precision": promised(0.95, 0.85), "coverage": None, "num_calib": 9},
            {"name": "glass", "tau": 0.5, "precision": promised(0.9, 0.7), "coverage": None, "num_calib": 9},
        ],
        "real": {
            "all": {"precision": 0.825, "coverage": 0.4},
            "classes": [
                {"precision": 0.9, "kept_pixels": 300, "coverage": 0.5},
                {"precision": 0.6, "kept_pixels": 100, "coverage": 0.2},
            ],
        },
    }


def result():
    seeds = [
        {
            "seed": seed,
            "control": score(0.50 + 0.01 * seed),
            "ceiling": score(0.60 + 0.01 * seed, glass=None),
            "policies": {"class_balanced": looped(0.45, 0.57 + 0.01 * seed), "calibrated": looped(0.45, 0.5)},
            "recipes": {"consistency": {**looped(0.55 + 0.02 * seed, outcomes=("first",)), "commit": "abc"}},
        }
        for seed in range(2)
    ]
    schedule = {"labelled": [150], "control": [200], "loop": [150, 200], "consistency": [200], "ceiling": [200]}
    return {
        "environment": {"python": "3"},
        "overrides": ["train.size=160"],
        "classes": CLASSES,
        "titles": {"consistency": "consistency alone"},
        "schedules": schedule,
        "seeds": seeds,
    }


def test_the_page_says_what_is_wrong_with_it_first_and_what_share_of_the_gap_each_recipe_recovers():
    text = page(result(), "2026-01-02")
    assert text.index("Caveats first") < text.index("## Recipes") < text.index("## Threshold policies")
    assert "| segloop | 200, 350 | 0.575 ± 0.007 | 0.570 0.580 | +0.070 (+0.070 … +0.070) | 70% | 70% 70% |" in text
    assert "| consistency alone | 200, 200 | 0.560 ± 0.014 | 0.550 0.570 | +0.055 (+0.050 … +0.060) | 55% |" in text
    assert "| ceiling: all labels, final schedule | 200, 200 |" in text
    assert "- loop, class_balanced: seed 0: improved; seed 1: improved" in text
    assert "consistency alone: seed" not in text  # its only round has nothing to be judged against
    assert "- commit abc: consistency 0, consistency 1 (part, seed)" in text
    assert "- commit not noted: control 0" in text


def test_promised_and_real_precision_are_pooled_by_kept_pixels_and_broken_promises_counted():
    expected, real = pooled([looped(0.5)])
    assert (expected, real) == (pytest.approx((0.95 * 300 + 0.9 * 100) / 400), pytest.approx(0.825))
    assert promises(looped(0.5)) == [True, False]
    text = page(result(), "2026-01-02")
    assert "| class_balanced | 0.938 | 0.825 | -0.113 | 0.400 | 2 of 4 |" in text
    assert "| glass | 0.900 | 0.600 | 0.200 |" in text


def test_a_policy_that_labels_next_to_nothing_is_marked():
    little = result()
    for seed in little["seeds"]:
        seed["policies"]["calibrated"]["real"]["all"]["coverage"] = 0.1
    assert "| 0.100 (too little) |" in page(little, "2026-01-02")


def test_a_seed_without_a_gap_has_no_share_of_it():
    row = score_row(Row("a", "a", [score(0.5), score(0.6)]), [200], [0.4, 0.5], [0.6, 0.505])
    assert row.endswith("| 98% | 50% – |")
    assert score_row(Row("a", "a", [score(0.5)]), [200], [0.5], [0.4]).endswith("| no gap | – |")


def test_every_recipe_is_a_config_whose_last_student_has_the_schedule_of_the_control():
    found = schedules(SHORT, tuple(RECIPES))
    assert {name: found[name][-1] for name in found if name != "labelled"} == dict.fromkeys([*found][1:], 200)
    assert found["st_plus_plus"] == [150, 200, 200]
    assert found["consistency"] == [200]
    assert set(ISSUE) <= set(RECIPES)


def test_what_was_measured_is_not_measured_again(tmp_path: Path):
    assert once(tmp_path, "a", lambda name: {"run": name})["run"] == "a"
    assert set(once(tmp_path, "a", lambda name: pytest.fail("measured again"))) == {"run", "commit"}
