import pytest
from hypothesis import given
from hypothesis import strategies as st

from segcore.config.schema import LoopConfig
from segcore.records import Checkpoint, GateDecision, Interval, RoundRecord, Score, StepOutput
from segcore.trust.loop_policy import next_teacher, round_seed, wants_another_round, winner


def record(round_index, miou, outcome="inconclusive"):
    student = Checkpoint(f"round_{round_index:02d}/student", f"digest{round_index}", "config.py", "lineage.json")
    score = Score(Interval(miou, miou - 0.05, miou + 0.05), (miou,), 0.9, 0.8, 50, 0)
    decision = GateDecision("first" if round_index == 0 else outcome, (), None)
    evaluation = StepOutput("evaluation", "p", "k", "d", False)
    return RoundRecord(round_index, None, student, score, decision, evaluation, None)


def history_of(scores, outcomes=()):
    outcomes = ["first", *outcomes] + ["inconclusive"] * len(scores)
    return [record(index, miou, outcomes[index]) for index, miou in enumerate(scores)]


def test_the_known_series_goes_on_past_its_third_round_and_ends_on_its_fourth():
    series = [0.758, 0.762, 0.761, 0.771]
    loop = LoopConfig(rounds=6, patience=2)
    for length in range(1, 5):
        assert wants_another_round(history_of(series[:length]), loop)[0]
    assert winner(history_of(series)).round_index == 3


def test_a_round_that_was_rejected_for_harm_cannot_win_whatever_its_score():
    assert winner(history_of([0.5, 0.9, 0.6], ["worse"])).round_index == 2


def test_the_known_series_ends_at_its_third_round_with_patience_1():
    goes_on, reason = wants_another_round(history_of([0.758, 0.762, 0.761]), LoopConfig(rounds=6, patience=1))
    assert not goes_on
    assert "round 1 stays the best" in reason


@pytest.mark.parametrize(
    ("scores", "loop", "hours", "goes_on", "words"),
    [
        ([], LoopConfig(rounds=0), 0, True, "round 0"),
        ([0.5], LoopConfig(rounds=0), 0, False, "all 0 rounds"),
        ([0.5, 0.6], LoopConfig(rounds=1), 0, False, "all 1 rounds"),
        ([0.6, 0.5, 0.5], LoopConfig(rounds=9, patience=2), 0, False, "no new best for 2 rounds"),
        ([0.6, 0.6, 0.6], LoopConfig(rounds=9, patience=2), 0, False, "round 0 stays the best"),
        ([0.6, 0.7], LoopConfig(rounds=9, max_hours=2), 1.99, True, "round 1 is the best"),
        ([0.6, 0.7], LoopConfig(rounds=9, max_hours=2), 2.0, False, "loop.max_hours 2"),
    ],
)
def test_the_loop_stops_for_a_stated_reason(scores, loop, hours, goes_on, words):
    result, reason = wants_another_round(history_of(scores), loop, hours)
    assert result is goes_on
    assert words in reason


@pytest.mark.parametrize(
    ("outcomes", "teacher"),
    [
        ([], 0),
        (["improved"], 1),
        (["inconclusive"], 1),
        (["worse"], 0),
        (["improved", "worse"], 1),
        (["worse", "worse", "inconclusive"], 3),
        (["improved", "worse", "worse"], 1),
    ],
)
def test_a_worse_round_keeps_the_old_teacher_and_any_other_promotes_its_student(outcomes, teacher):
    history = history_of([0.5] * (len(outcomes) + 1), outcomes)
    assert next_teacher(history).digest == f"digest{teacher}"


def test_the_winner_is_the_earlier_of_equals():
    assert winner(history_of([0.5, 0.7, 0.7])).round_index == 1


def test_a_round_without_a_score_never_wins_over_one_with_a_score():
    nan = float("nan")
    assert winner(history_of([nan, 0.1, nan])).round_index == 1


@given(st.integers(0, 2**40), st.integers(2, 60))
def test_no_round_repeats_the_seed_of_another(seed, num_rounds):
    seeds = [round_seed(seed, index) for index in range(num_rounds)]
    assert len(set(seeds)) == num_rounds
    assert all(0 <= value < 2**31 for value in seeds)


def test_runs_with_different_seeds_train_differently_and_a_seed_never_changes():
    assert len({round_seed(seed, 0) for seed in range(200)}) == 200
    assert round_seed(0, 0) == round_seed(0, 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(1, 4), st.integers(0, 12))
def test_a_loop_that_is_replayed_always_ends_and_never_beyond_its_rounds(scores, patience, rounds):
    loop = LoopConfig(rounds=rounds, patience=patience)
    history = []
    while wants_another_round(history, loop)[0] and len(history) < 50:
        history.append(record(len(history), scores[len(history) % len(scores)]))
    assert len(history) <= rounds + 1
    assert winner(history).score.miou.point == max(r.score.miou.point for r in history)
