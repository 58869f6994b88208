"""Progress of a training: JSON lines that anyone may read while it runs, and TensorBoard scalars."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from torch.utils.tensorboard.writer import SummaryWriter

log = logging.getLogger(__name__)

NO_PARTS: Mapping[str, float] = MappingProxyType({})


class TrainingLog:
    """Write `{"iteration", "num_iterations", "loss", "lr", "eta_s"}` lines to a file, and what a loss is made of.

    Lines after start_iteration, left by an attempt that died, are dropped first. eta_s: seconds left, measured over
    this attempt alone.
    """

    def __init__(self, path: Path, tensorboard: Path, start_iteration: int, num_iterations: int) -> None:
        self.path = path
        self.start_iteration = start_iteration
        self.num_iterations = num_iterations
        self.started_s = time.monotonic()
        kept = [line for line in read_lines(path) if int(line["iteration"]) <= start_iteration]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in kept))
        self.board = SummaryWriter(str(tensorboard), purge_step=start_iteration)

    def write(self, iteration: int, loss: float, lr: float, parts: Mapping[str, float] = NO_PARTS) -> None:
        """Add one line; loss is the mean since the last, as are its parts by name."""
        done = max(iteration - self.start_iteration, 1)
        eta_s = (time.monotonic() - self.started_s) / done * (self.num_iterations - iteration)
        line = {"iteration": iteration, "num_iterations": self.num_iterations, "loss": loss, "lr": lr, **parts}
        with self.path.open("a") as file:
            file.write(json.dumps({**line, "eta_s": round(eta_s, 1)}) + "\n")
        for name, value in {"loss": loss, "lr": lr, **parts}.items():
            self.board.add_scalar(f"train/{name}", value, iteration)
        log.info("iteration %d/%d, loss %.4f, lr %.2e, %.0f s left", iteration, self.num_iterations, loss, lr, eta_s)

    def close(self) -> None:
        """Flush TensorBoard."""
        self.board.close()


def read_lines(path: Path) -> list[dict[str, float]]:
    """Return the whole lines of a progress file; a torn last line is dropped."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
