import math

import pytest

from segcore.cards.progress import SPARK_CHARS, label_progress, sparkline, train_progress
from segcore.progress import LabelProgress, TrainProgress


def lines(*losses, num_iterations=400):
    return [
        TrainProgress("round_01/student", 50 * number, num_iterations, loss, 1e-3, 60.0 * (8 - number))
        for number, loss in enumerate(losses, start=1)
    ]


@pytest.mark.parametrize(
    ("progress", "first", "shards"),
    [
        (
            LabelProgress("round_01/labels", 10_000, 1234, 734, 20, 8, 5, 734 / 3.4),
            "round_01/labels: **1\u202f234 of 10\u202f000 images** (12 %), 3.4 images/s, ETA 42 min 58 s",
            "8 of 20 shards done, 5 reused.",
        ),
        (
            LabelProgress("final/labels", 180, 180, 0, 4, 4, 4, 0.0),
            "final/labels: **180 of 180 images** (100 %)",
            "4 of 4 shards done, 4 reused.",
        ),
        (
            LabelProgress("final/labels", 1000, 999, 999, 4, 3, 0, 100.0),
            "final/labels: **999 of 1\u202f000 images** (99 %), 10.0 images/s, ETA 0.1 s",
            "3 of 4 shards done, 0 reused.",
        ),
    ],
)
def test_a_labelling_tells_images_rate_time_left_and_shards(progress, first, shards):
    told = label_progress(progress).strip().split("\n\n")
    assert (told[0], told[2]) == (first, shards)


def test_a_training_tells_iteration_loss_time_left_and_its_last_lines():
    card = train_progress(lines(1.4, 0.7, 0.5, 0.4, 0.35, 0.3))
    assert card.startswith("round_01/student: **iteration 300 of 400** (75 %), loss 0.3000, ETA 2 min 00 s\n")
    assert "Loss 1.4000 `█▄▂▂▁▁` 0.3000" in card
    assert [row.split(" | ")[0] for row in card.splitlines()[-5:]] == ["| 100", "| 150", "| 200", "| 250", "| 300"]


def test_a_training_that_is_done_has_no_time_left():
    assert "ETA" not in train_progress(lines(1.0, num_iterations=50))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.0], "▁"),
        ([2.0, 2.0], "▁▁"),
        ([math.nan, 1.0, math.inf, 0.0], "█▁"),
        ([math.nan], ""),
    ],
)
def test_a_line_of_losses_stands_what_a_training_can_yield(values, shown):
    assert sparkline(values) == shown


def test_a_long_training_has_a_short_line_that_ends_with_the_newest_loss():
    line = sparkline([*range(1000, 0, -1)])
    assert len(line) <= SPARK_CHARS
    assert line[0] == "█"
    assert line[-1] == "▁"
