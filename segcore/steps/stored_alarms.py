"""The alarms of a run's quality cards, read without the config and without numpy, for status."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from segcore.store.steps import KEY_CHARS
from segcore.trust.alarm_text import sentences

CARD = "card.json"


def newest_card(round_dir: Path) -> Path | None:
    """Return the folder of the round's newest quality card, None when there is none."""
    found = sorted(round_dir.glob(f"card.{'[0-9a-f]' * KEY_CHARS}"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def alarms_in(folder: Path | None) -> tuple[str, ...]:
    """Return the alarms of a quality card in words; none when it cannot be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return () if folder is None else sentences(json.loads((folder / CARD).read_bytes()))
    return ()
