"""Alarms: what in a round's quality card says that its pseudo-labels must not be believed, and what is done then.

Self-training fails in known ways: a rare class dies, a common one swallows its neighbours, confidence rises as errors
are learnt. None of them needs truth for the pool to be seen. Pure functions of quality cards, which are run files, so
that a resume decides the same. Each alarm is explained in docs/explanation/alarms.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from segcore.config.label_schema import AlarmsConfig, ClassAlarm, RunAlarm

Kind = Literal["vanished", "exploded", "churn", "drift", "calibration", "confidence", "shift"]
Action = Literal["warn", "freeze", "raise_tau", "stop"]
Card = Mapping[str, Any]  # quality card as segcore/pseudo/card.py makes it

LIMITS: Mapping[Kind, float] = {
    "vanished": 0.1,  # of the class's share in the ground truth, that its pseudo-labels have at least
    "exploded": 5.0,  # times the class's share in the ground truth, that its pseudo-labels have at most
    "churn": 0.3,  # of the pixels that the last teacher gave the class, that this one gives to others
    "drift": 0.5,  # the same, against the first teacher
    "calibration": 0.1,  # rise of overconfidence (mean confidence - accuracy, from 0 on) on calib since the last round
    "confidence": 0.05,  # rise of the mean confidence in the pool, where calib shows neither reason nor room for it
    "shift": 0.2,  # distance of the pool's confidence from that of calib, when chance does not explain it
}
SHIFT_P_VALUE = 0.01
MIN_CALIB_IMAGES = 10  # of a class; with fewer, calib says nothing of its changes


@dataclass(frozen=True)
class Alarm:
    """Something is wrong with a class, or with the round as a whole (class_name None). value, limit: in shares."""

    kind: Kind
    class_name: str | None
    value: float
    limit: float
    action: Action
    message: str


@dataclass(frozen=True)
class Actions:
    """What alarms call for: class ids to freeze, class ids whose tau is raised, and why the loop ends, if it does."""

    frozen: tuple[int, ...]
    raised: tuple[int, ...]
    stop: str | None


def find_alarms(card: Card, last: Card | None, config: AlarmsConfig) -> tuple[Alarm, ...]:
    """Return the alarms of a round. last: the card of the round before, None where there is none."""
    found = [
        alarm
        for position, row in enumerate(card["classes"])
        for alarm in class_alarms(row, None if last is None else last["classes"][position], config)
    ]
    return (*found, *round_alarms(card, last, config))


def class_alarms(row: Card, last: Card | None, config: AlarmsConfig) -> Iterator[Alarm]:
    """Yield the alarms of one class. row, last: its entries in this card and in the last one."""
    yield from share_alarms(row, config)
    for kind, since, settings in (("churn", "last", config.churn), ("drift", "first", config.drift)):
        value, limit = row[f"churn_{since}"], limit_of(kind, settings)
        if value is not None and value > limit:
            text = f"{percent(value)} of what the {since} teacher called {row['name']} is something else now"
            yield alarm(kind, row["name"], value, limit, settings.action, text)
    if last is not None and min(row["num_calib"], last["num_calib"]) >= MIN_CALIB_IMAGES:
        yield from trend_alarms(row, last, row["name"], config)


def share_alarms(row: Card, config: AlarmsConfig) -> Iterator[Alarm]:
    """Yield the alarm of a class whose share of the pseudo-labels is far from its share of the ground truth."""
    share, truth = row["kept_share"] or 0.0, row["truth_share"]
    if not truth:
        return
    shares = f"{percent(share)} of the kept pixels, {percent(truth)} of the ground truth"
    least, most = limit_of("vanished", config.vanished), limit_of("exploded", config.exploded)
    if share < least * truth:
        yield alarm("vanished", row["name"], share / truth, least, config.vanished.action, f"{row['name']}: {shares}")
    if share > most * truth:
        yield alarm("exploded", row["name"], share / truth, most, config.exploded.action, f"{row['name']}: {shares}")


def trend_alarms(now: Card, last: Card, name: str | None, config: AlarmsConfig) -> Iterator[Alarm]:
    """Yield what got worse since the last round, of one class or of all: calibration, confidence without accuracy."""
    if None in (now["gap"], last["gap"]):
        return
    who, limit = name or "all classes", limit_of("calibration", config.calibration)
    rise = now["gap"] - max(last["gap"], 0.0)  # to become less underconfident is no harm
    if rise > limit:
        text = f"{who}: confidence minus accuracy on calib is {now['gap']:+.3f}, {last['gap']:+.3f} in the last round"
        yield alarm("calibration", name, rise, limit, config.calibration.action, text)
    if None in (now["pool_confidence"], last["pool_confidence"]):
        return
    surer, limit = now["pool_confidence"] - last["pool_confidence"], limit_of("confidence", config.confidence)
    better = now["accuracy"] - last["accuracy"]
    if surer > limit and better <= 0 < now["gap"]:
        text = f"{who}: mean confidence in the pool rose by {surer:.3f}, accuracy on calib changed by {better:+.3f}"
        yield alarm("confidence", name, surer, limit, config.confidence.action, text)


def round_alarms(card: Card, last: Card | None, config: AlarmsConfig) -> Iterator[Alarm]:
    """Yield the alarms that no single class is to blame for."""
    if last is not None and min(card["num_calib"], last["num_calib"]) >= MIN_CALIB_IMAGES:
        yield from trend_alarms(card, last, None, config)
    shift, limit = card["shift"], limit_of("shift", config.shift)
    if shift is not None and shift["distance"] > limit and shift["p_value"] <= SHIFT_P_VALUE:
        text = (
            f"the pool does not look like calib: its confidence is {shift['mean_confidence_is']}, distance "
            f"{shift['distance']:.2f} (p {shift['p_value']:.3f}); what calib promises need not hold there"
        )
        yield alarm("shift", None, shift["distance"], limit, config.shift.action, text)


def actions_of(alarms: Sequence[Alarm], class_names: Sequence[str]) -> Actions:
    """Return what alarms call for. An alarm on the whole round means every class; freezing outdoes a higher tau."""

    def classes(action: Action) -> set[int]:
        named = [found.class_name for found in alarms if found.action == action]
        return {index for index, name in enumerate(class_names) if name in named or None in named}

    frozen = classes("freeze")
    reasons = [f"{found.kind}: {found.message}" for found in alarms if found.action == "stop"]
    stop = None if not reasons else f"an alarm says so (alarms): {'; '.join(reasons)}"
    return Actions(tuple(sorted(frozen)), tuple(sorted(classes("raise_tau") - frozen)), stop)


def limit_of(kind: Kind | str, settings: ClassAlarm | RunAlarm) -> float:
    """Return the limit that was set, else the alarm's own."""
    return LIMITS[kind] if settings.limit is None else settings.limit  # type: ignore[index]


def alarm(kind: Any, class_name: str | None, value: float, limit: float, action: Action, message: str) -> Alarm:
    """Return an alarm with plain numbers."""
    return Alarm(kind, class_name, float(value), float(limit), action, message)


def percent(share: float) -> str:
    """Return a share in [0, 1] as percent, small ones with more digits."""
    return f"{100 * share:.2f} %" if share < 0.1 else f"{100 * share:.1f} %"
