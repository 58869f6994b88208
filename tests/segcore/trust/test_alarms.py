"""Alarms as a table of quality cards; tests/faults/test_collapse.py drives each of them through a whole loop."""

from __future__ import annotations

import pytest

from segcore.config.label_schema import AlarmsConfig
from segcore.trust.alarm_text import grouped, sentences
from segcore.trust.alarms import LIMITS, Alarm, actions_of, find_alarms

HEALTHY = {
    "name": "cup", "kept_share": 0.1, "truth_share": 0.1, "churn_last": 0.1, "churn_first": 0.2, "num_calib": 20,
    "gap": 0.02, "accuracy": 0.9, "pool_confidence": 0.92,
}  # fmt: skip
CALM = {"distance": 0.05, "p_value": 0.4, "mean_confidence_is": "lower"}


def card(row=(), **whole):
    rest = {"shift": CALM, "num_calib": 20, "gap": 0.02, "accuracy": 0.9, "pool_confidence": 0.92}
    return {"classes": [HEALTHY | dict(row)], **rest, **whole}


def kinds(now, last=None, **config):
    return [(alarm.kind, alarm.class_name) for alarm in find_alarms(now, last, AlarmsConfig(**config))]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, []),
        ({"kept_share": 0.0099}, ["vanished"]),
        ({"kept_share": 0.0101}, []),
        ({"kept_share": None}, ["vanished"]),
        ({"kept_share": 0.51}, ["exploded"]),
        ({"kept_share": 0.49}, []),
        ({"kept_share": 0.9, "truth_share": 0.0}, []),  # a class that nobody has labelled has no share to compare with
        ({"kept_share": 0.9, "truth_share": None}, []),
        ({"churn_last": 0.31}, ["churn"]),
        ({"churn_last": None, "churn_first": 0.51}, ["drift"]),
        ({"churn_last": 0.6, "churn_first": 0.6}, ["churn", "drift"]),
    ],
)
def test_a_class_alarms_beyond_its_limit(row, expected):
    assert kinds(card(row)) == [(kind, "cup") for kind in expected]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"gap": 0.13}, ["calibration"]),
        ({"gap": 0.11}, []),
        ({"pool_confidence": 0.98}, ["confidence"]),
        ({"pool_confidence": 0.98, "accuracy": 0.91}, []),  # surer and better
        ({"pool_confidence": 0.98, "gap": -0.1}, []),  # surer, and still right more often than it is sure
        ({"pool_confidence": 0.96}, []),
        ({"pool_confidence": None, "gap": None}, []),
        ({"gap": 0.5, "num_calib": 9}, []),  # too few images to say
    ],
)
def test_a_class_alarms_on_what_got_worse_since_the_last_round(row, expected):
    assert kinds(card(row), card()) == [(kind, "cup") for kind in expected]
    assert kinds(card(row)) == []  # without a last round nothing got worse


@pytest.mark.parametrize(
    ("whole", "expected"),
    [
        ({"gap": 0.2}, ["calibration"]),
        ({"pool_confidence": 0.99, "accuracy": 0.85}, ["confidence"]),
        ({"shift": {"distance": 0.3, "p_value": 0.01, "mean_confidence_is": "lower"}}, ["shift"]),
        ({"shift": {"distance": 0.3, "p_value": 0.02, "mean_confidence_is": "lower"}}, []),
        ({"shift": {"distance": 0.19, "p_value": 0.001, "mean_confidence_is": "lower"}}, []),
        ({"shift": None}, []),
    ],
)
def test_a_round_alarms_as_a_whole(whole, expected):
    assert kinds(card(**whole), card()) == [(kind, None) for kind in expected]


def test_to_become_less_underconfident_is_no_alarm():
    before, after = card({"gap": -0.3}, gap=-0.3), card({"gap": -0.1, "pool_confidence": 0.99}, gap=-0.1)
    assert kinds(after, before) == []
    assert kinds(card({"gap": 0.11}), before) == [("calibration", "cup")]


@pytest.mark.parametrize("kind", LIMITS)
def test_every_limit_and_action_can_be_set(kind):
    config = {name: {"limit": 1e9 if name != "vanished" else 1e-9} for name in LIMITS}
    config[kind] = {"limit": 1e-9 if kind != "vanished" else 1e9, "action": "stop"}
    strange = {"distance": 0.3, "p_value": 0.001, "mean_confidence_is": "lower"}
    now = card({"gap": 0.3, "pool_confidence": 0.99, "accuracy": 0.5}, shift=strange)
    found = find_alarms(now, card(), AlarmsConfig(**config))
    assert {(alarm.kind, alarm.action) for alarm in found} == {(kind, "stop")}


def alarm(action, name):
    return Alarm("churn", name, 0.5, 0.3, action, f"{name} changed")


@pytest.mark.parametrize(
    ("alarms", "frozen", "raised", "stops"),
    [
        ([], (), (), False),
        ([alarm("warn", "a")], (), (), False),
        ([alarm("freeze", "b"), alarm("raise_tau", "a")], (1,), (0,), False),
        ([alarm("freeze", "a"), alarm("raise_tau", "a")], (0,), (), False),
        ([alarm("raise_tau", None), alarm("freeze", "c")], (2,), (0, 1), False),
        ([alarm("freeze", None)], (0, 1, 2), (), False),
        ([alarm("stop", "a"), alarm("freeze", "b")], (1,), (), True),
    ],
)
def test_actions_name_classes_and_a_round_alarm_means_all_of_them(alarms, frozen, raised, stops):
    found = actions_of(alarms, ("a", "b", "c"))
    assert (found.frozen, found.raised) == (frozen, raised)
    assert (found.stop is not None) == stops
    assert not stops or "a changed" in str(found.stop)


@pytest.mark.parametrize(
    ("action", "kept_from", "told"),
    [
        ("warn", {}, "churn (warning): b changed"),
        ("raise_tau", {}, "churn (tau raised): b changed"),
        ("stop", {}, "churn (ends the loop): b changed"),
        ("freeze", {"1": 3}, "churn (labels kept from round 3): b changed"),
        ("freeze", {"0": 3}, "churn (warning; no earlier labels to keep): b changed"),
    ],
)
def test_a_stored_alarm_says_what_was_done(action, kept_from, told):
    stored = {"kind": "churn", "class_name": "b", "action": action, "message": "b changed"}
    rows = [{"name": "a"}, {"name": "b"}]
    card = {"alarms": [stored], "actions": {"kept_from": kept_from}, "classes": rows}
    assert sentences(card) == grouped(card) == (told,)


def test_alarms_of_one_kind_with_one_action_are_told_in_one_line():
    def stored(kind, name, action="warn"):
        return {"kind": kind, "class_name": name, "action": action, "message": f"{name} changed"}

    alarms = [stored("churn", "a"), stored("drift", "a"), stored("churn", "b"), stored("drift", "b", "raise_tau")]
    card = {"alarms": [*alarms, stored("churn", None)], "actions": {"kept_from": {}}, "classes": []}
    assert grouped(card) == (
        "churn (warning): a, b, all classes",
        "drift (warning): a changed",
        "drift (tau raised): b changed",
    )
