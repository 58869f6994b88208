import logging

import pytest

from segcore.process.training_news import TrainingNews
from segcore.progress import listeners


@pytest.fixture
def log_of(caplog):
    """Return a function that tells of a training, a line every `every` iterations and `step_s` seconds; and the log."""

    def run(num_iterations, every, step_s):
        now = [0.0]
        news = TrainingNews("round_00/student", clock=lambda: now[0])
        with caplog.at_level(logging.INFO):
            for iteration in range(every, num_iterations + 1, every):
                now[0] += step_s
                left = (num_iterations - iteration) / every * step_s
                news.tell({"iteration": iteration, "num_iterations": num_iterations, "loss": 0.5, "lr": 1e-3,
                           "eta_s": left})  # fmt: skip
        return [record.getMessage() for record in caplog.records]

    return run


@pytest.mark.parametrize(
    ("num_iterations", "every", "step_s", "logged"),
    [
        (150, 25, 4, [25, 150]),  # half a minute: the first and the last
        (250, 25, 12, [25, 100, 175, 250]),  # two minutes: every 30 s
        (8000, 50, 10, [50, 850, 1650, 2450, 3250, 4050, 4850, 5650, 6450, 7250, 8000]),  # half an hour: every tenth
        (1, 1, 1, [1]),
    ],
)
def test_the_log_gets_the_first_line_the_last_and_few_between(log_of, num_iterations, every, step_s, logged):
    lines = log_of(num_iterations, every, step_s)
    assert [int(line.split("/")[0].removeprefix("  iteration ")) for line in lines] == logged


def test_a_line_tells_loss_rate_and_the_time_left_until_there_is_none(log_of):
    assert log_of(100, 50, 70) == [
        "  iteration 50/100  loss 0.5000  lr 1.0e-03  ETA 1:10",
        "  iteration 100/100  loss 0.5000  lr 1.0e-03",
    ]


def test_listeners_hear_every_line(log_of):
    heard = []
    listeners.append(heard.append)
    try:
        log_of(150, 25, 4)
    finally:
        listeners.remove(heard.append)
    assert [progress.iteration for progress in heard] == [25, 50, 75, 100, 125, 150]
    assert heard[0].place == "round_00/student"
