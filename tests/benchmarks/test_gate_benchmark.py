"""The page of the gate's simulation, from a handful of runs; tests/segcore/trust/test_gate.py asserts the rates."""

from benchmarks.gate import HARMED, bar, page, true_changes

RESULT = {
    "settings": {"level": 0.05, "num_runs": 10, "num_gates": 5},
    "null": [{"num_images": 50, "rare": 0.3, "num_rounds": 3, "gained": 0.02, "harmed": 0.04, "noise": 0.2}],
    "power": [
        {"num_images": 50, "true_gain": 0.05, "found": 0.6, "named": 0.04},
        {"num_images": 50, "true_gain": 0.02, "found": 0.2, "named": 0.041},
    ],
    "harm": {"lost": 0.19, "gained": 0.03, "rows": [{"num_images": 50, "seen": 0.4, "improved": 0.5}]},
    "environment": {"commit": "abc"},
}


def test_the_page_holds_a_row_a_case_and_the_power_by_rising_gain():
    text = page(RESULT, "2026-01-02")
    assert "| 50 | 30% | 3 | 2.0% | 4.0% |" in text
    assert "| gate images | gain 0.020 | gain 0.050 | missed half the time |" in text
    assert "| 50 | █░░░░ 20% | ███░░ 60% | 0.041 |" in text
    assert "that class loses 0.190 of IoU, while mIoU gains 0.030" in text
    assert "| 50 | 40% | 50% |" in text


def test_a_bar_has_five_blocks():
    assert [bar(share) for share in (0.0, 0.5, 1.0)] == ["░░░░░", "██░░░", "█████"]


def test_the_harmed_student_really_gains_while_its_rare_class_loses():
    changes = true_changes(HARMED)
    assert changes[-1] < -0.1
    assert changes.mean() > 0.01
