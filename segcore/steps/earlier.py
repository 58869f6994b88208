"""Weights that a student keeps on the way of its training, where images are ranked by checkpoints' agreement.

Whoever keeps some is asked for them in every labelling and scoring, so that one process serves both and a teacher's
labels are found again in a later round. Only students that may leave images out need them.
"""

from __future__ import annotations

from pathlib import Path

from segcore.config.schema import RunConfig
from segcore.pseudo.selection import reliable_share
from segcore.store.canonical import file_sha256

KEPT = "earlier_*.pth"
PARTS = 3  # of a training, at whose inner ends weights are kept, as in ST++


def earlier_iterations(config: RunConfig, round_index: int, iterations: int) -> tuple[int, ...]:
    """Return after which iterations the student of a round keeps its weights; () where nobody will ask for them.

    It labels the pool of later rounds and, as the winner, once more with the thresholds of its own round at the least.
    """
    share = reliable_share(config.filter, max(1, round_index))
    if config.filter.reliability != "checkpoints" or share >= 1:
        return ()
    return tuple(iterations * part // PARTS for part in range(1, PARTS))


def earlier_digests(folder: Path) -> list[str]:
    """Return the sha256 of the weights that a training kept in its folder, oldest first."""
    return [file_sha256(path) for path in sorted(folder.glob(KEPT))]
