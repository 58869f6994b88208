"""Cards label-progress and train-progress: how far long work is, and when it will be done."""

from __future__ import annotations

from collections.abc import Sequence

from segcore.cards.markdown import count, table
from segcore.outputs.report_text import duration
from segcore.progress import LabelProgress, TrainProgress

BLOCKS = "▁▂▃▄▅▆▇█"
SPARK_CHARS = 40
BAR_CHARS = 30
LAST_LINES = 5


def label_progress(progress: LabelProgress) -> str:
    """Return how far a labelling is, its rate and the time left."""
    done = progress.num_shards_done == progress.num_shards
    images = f"**{count(progress.num_done)} of {count(progress.num_images)} images**"
    parts = [f"{images} ({whole_percent(progress.num_done, progress.num_images)})"]
    if progress.images_per_s is not None:
        parts.append(f"{progress.images_per_s:.1f} images/s")
    if not done and progress.eta_s is not None:
        parts.append(f"ETA {duration(progress.eta_s)}")
    shards = f"{progress.num_shards_done} of {progress.num_shards} shards done, {progress.num_shards_reused} reused"
    return f"{progress.place}: {', '.join(parts)}\n\n`{bar(progress.num_done, progress.num_images)}`\n\n{shards}.\n"


def train_progress(lines: Sequence[TrainProgress]) -> str:
    """Return how far a training is. lines: oldest first, not empty; the last is now."""
    now = lines[-1]
    left = "" if now.eta_s is None or now.iteration >= now.num_iterations else f", ETA {duration(now.eta_s)}"
    rows = [(count(line.iteration), f"{line.loss:.4f}", f"{line.lr:.1e}") for line in lines[-LAST_LINES:]]
    losses = [line.loss for line in lines]
    return (
        f"{now.place}: **iteration {count(now.iteration)} of {count(now.num_iterations)}** "
        f"({whole_percent(now.iteration, now.num_iterations)}), loss {now.loss:.4f}{left}\n\n"
        f"`{bar(now.iteration, now.num_iterations)}`\n\n"
        f"Loss {losses[0]:.4f} `{sparkline(losses)}` {losses[-1]:.4f}\n\n"
        f"{table(('iteration', 'loss', 'learning rate'), rows)}\n"
    )


def train_reused(place: str) -> str:
    """Return the card of a student that was trained before."""
    return f"{place}: **reused**. It was trained before with the same inputs.\n"


def whole_percent(part: int, whole: int) -> str:
    """Return a share as whole percent, rounded down: 100 % only when all is done."""
    return f"{100 * part // max(1, whole)} %"


def bar(part: int, whole: int) -> str:
    """Return a bar of BAR_CHARS characters, filled as far as the work is done."""
    filled = BAR_CHARS * part // max(1, whole)
    return "█" * filled + "░" * (BAR_CHARS - filled)


def sparkline(values: Sequence[float]) -> str:
    """Return values as blocks of eight heights, at most SPARK_CHARS of them; what is no number is left out.

    >>> sparkline([4.0, 2.0, 1.0, 0.5])
    '█▄▂▁'
    """
    real = [value for value in values if value - value == 0]  # neither nan nor infinite
    if not real:
        return ""
    step = max(1, -(-len(real) // SPARK_CHARS))
    shown = real[::-step][::-1]  # the newest is always among them
    low, high = min(shown), max(shown)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in shown)
