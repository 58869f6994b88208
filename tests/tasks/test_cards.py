"""Cards where there is no Prefect, and how a long training is kept short."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

import pytest

from segcore.progress import TrainProgress, listeners
from tasks import cards
from tasks.poster import Poster


def line(iteration: int) -> TrainProgress:
    return TrainProgress("round_00/student", iteration, 10_000, 1.0, 1e-3, 5.0)


def test_outside_a_flow_run_the_window_shows_nothing_and_listens_to_nothing():
    before = list(listeners)
    with cards.window():
        assert (cards.posters, listeners) == ([], before)
        cards.post("round-metrics", "scores", lambda: pytest.fail("it must not be made"))


def test_outside_a_task_run_no_card_is_made():
    poster = Poster()
    cards.posters.append(poster)
    try:
        cards.ProgressCards().show(line(1))
        cards.post("round-metrics", "scores", str)
    finally:
        cards.posters.remove(poster)
    assert poster.waiting == {}


def test_a_card_hangs_at_its_task_run_and_that_of_a_labelling_at_the_flow_run(monkeypatch):
    flow_run, task_run = uuid4(), uuid4()
    context = SimpleNamespace(task_run=SimpleNamespace(id=task_run, flow_run_id=flow_run))
    monkeypatch.setattr(cards, "TaskRunContext", SimpleNamespace(get=lambda: context))
    poster = Poster()
    monkeypatch.setattr(cards, "posters", [poster])
    cards.post("gate-decision", "gate", str)
    cards.post("label-progress", "labelling", str, of_flow_run=True)
    assert list(poster.waiting) == [("gate-decision", flow_run, task_run), ("label-progress", flow_run, None)]


def test_a_long_training_keeps_its_first_and_newest_lines_and_some_between(monkeypatch):
    context = SimpleNamespace(task_run=SimpleNamespace(id=uuid4()))
    monkeypatch.setattr(cards, "TaskRunContext", SimpleNamespace(get=lambda: context))
    shown = cards.ProgressCards()
    for iteration in range(1, 10_001):
        lines = shown.lines_with(line(iteration))
    kept = [progress.iteration for progress in lines]
    assert len(kept) <= cards.MAX_LINES
    assert (kept[0], kept[-1]) == (1, 10_000)
    assert kept == sorted(kept)
