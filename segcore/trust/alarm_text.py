"""Alarms of a stored quality card in words, with what was done about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Card = Mapping[str, Any]  # quality card as segcore/steps/quality_card.py stores it


def sentences(card: Card) -> tuple[str, ...]:
    """Return the alarms of a card that was stored, with what was done about each."""
    kept_from = card["actions"]["kept_from"]
    position = {row["name"]: str(index) for index, row in enumerate(card["classes"])}
    return tuple(
        f"{found['kind']} ({done_about(found, kept_from, position)}): {found['message']}" for found in card["alarms"]
    )


def grouped(card: Card) -> tuple[str, ...]:
    """Return the alarms of a card in few lines: those of one kind, about which the same was done, name classes only."""
    position = {row["name"]: str(index) for index, row in enumerate(card["classes"])}
    groups: dict[str, list[Card]] = {}
    for found in card["alarms"]:
        done = done_about(found, card["actions"]["kept_from"], position)
        groups.setdefault(f"{found['kind']} ({done})", []).append(found)
    return tuple(f"{what}: {told_of(found)}" for what, found in groups.items())


def told_of(alarms: Sequence[Card]) -> str:
    """Return the message of one alarm; of several, whom they are about."""
    if len(alarms) == 1:
        return str(alarms[0]["message"])
    return ", ".join(found["class_name"] or "all classes" for found in alarms)


def done_about(found: Card, kept_from: Mapping[str, int], position: Mapping[str, str]) -> str:
    """Return what was done about an alarm. kept_from: round by class id, of classes that were frozen."""
    if found["action"] != "freeze":
        return {"warn": "warning", "raise_tau": "tau raised", "stop": "ends the loop"}[found["action"]]
    name = found["class_name"]
    rounds = sorted(set(kept_from.values()) if name is None else {kept_from.get(position[name], -1)} - {-1})
    if not rounds:
        return "warning; no earlier labels to keep"
    return f"labels kept from round {', '.join(str(number) for number in rounds)}"
