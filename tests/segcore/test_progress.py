import logging

import pytest

from segcore.progress import LabelProgress, TrainProgress, listeners, report

TRAINED = TrainProgress("round_00/student", 5, 10, 0.5, 1e-3, 12.0)


def labelled(**changes):
    fields = {
        "place": "round_01/labels", "num_images": 100, "num_done": 40, "num_new": 30, "num_shards": 8,
        "num_shards_done": 3, "num_shards_reused": 1, "seconds": 10.0,
    }  # fmt: skip
    return LabelProgress(**(fields | changes))


@pytest.fixture
def told():
    heard = []
    listeners.append(heard.append)
    yield heard
    listeners.remove(heard.append)


def test_a_listener_that_raises_is_dropped_with_one_warning_and_the_others_go_on_hearing(told, caplog):
    listeners.insert(0, lambda progress: 1 / 0)
    with caplog.at_level(logging.WARNING):
        report(TRAINED)
        report(TRAINED)
    assert told == [TRAINED, TRAINED]
    assert [record.getMessage() for record in caplog.records] == [
        "progress is not shown any more: ZeroDivisionError: division by zero"
    ]


@pytest.mark.parametrize(
    ("changes", "rate", "eta_s"),
    [
        ({}, 3.0, 20.0),
        ({"num_new": 0, "seconds": 0.0}, None, None),
        ({"num_done": 100}, 3.0, 0.0),
    ],
)
def test_the_rate_counts_only_images_labelled_now_and_gives_the_time_for_the_rest(changes, rate, eta_s):
    progress = labelled(**changes)
    assert (progress.images_per_s, progress.eta_s) == (rate, eta_s)
