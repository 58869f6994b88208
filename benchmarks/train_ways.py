"""The ways of training that are compared, each in a process of its own, working block by block when it is told to.

While one way works the other is between two iterations, its loading workers stopped: what they have prepared waits for
its own turn, and takes nothing from the other's.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from segcore.nn.devices import be_a_good_neighbour, limit_visible_devices
from segcore.nn.host_memory import keep_freed_memory
from segcore.nn.known_warnings import silence_known_warnings
from segcore.process.jobs import TrainJob

OURS, THEIRS, THEIRS_AMP = "segloop", "mmseg", "mmseg --amp"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Setting:
    """One training by one way. job: as our training program takes it. data: what mmseg reads (benchmarks.train_data).

    block: iterations between turns. folder: for all that the way writes.
    """

    way: str
    job: TrainJob
    data: Path
    block: int
    threads: int
    folder: Path


@dataclass(frozen=True)
class Block:
    """What a block of iterations took, data loading included, and the loss of each. cpu_s: workers' included."""

    wall_s: float
    cpu_s: float
    losses: tuple[float, ...]


class Contestant:
    """A training in a process of its own; `with Contestant(setting) as one: one.block()`. start_s: until it could."""

    def __init__(self, setting: Setting) -> None:
        be_a_good_neighbour()  # the child inherits it, and has it before torch is imported
        started = time.perf_counter()
        self.log = setting.folder / "log.txt"
        self.turns, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=compete, args=(setting, theirs))
        self.process.start()
        theirs.close()
        self.answer()
        self.start_s = time.perf_counter() - started

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.turns.close()
        self.process.join()

    def block(self) -> Block:
        """Let it train one block."""
        self.turns.send("train")
        block: Block = self.answer()
        return block

    def answer(self) -> Any:
        """Return what it says next; RuntimeError with the end of its log if it died."""
        try:
            return self.turns.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(f"a training of the benchmark ended early:\n{self.log.read_text()[-4000:]}") from None


def compete(setting: Setting, turns: Connection) -> None:
    """Train by one way in this process, its output in log.txt."""
    setting.folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(setting.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    train = WAYS[setting.way]
    limit_visible_devices(setting.job.device)
    silence_known_warnings()
    import torch

    torch.set_num_threads(setting.threads)
    turn = Turn(turns, setting.block)
    try:
        train(setting, turn)
    except TurnsOverError:
        pass
    finally:
        turn.wake_workers()  # stopped ones cannot end


class TurnsOverError(Exception):
    """Nobody asks for further blocks."""


class Turn:
    """Holds a training after every block, until the next is asked for."""

    def __init__(self, turns: Connection, block: int) -> None:
        self.turns = turns
        self.block = block
        self.losses: list[Any] = []
        self.started = (0.0, 0.0)

    def begin(self) -> None:
        """Say that the training is ready, and wait for the first turn."""
        self.turns.send("ready")
        self.wait()

    def wait(self) -> None:
        """Wait for a turn; the clocks start with it."""
        try:
            self.turns.recv()
        except EOFError:
            raise TurnsOverError from None
        self.wake_workers()
        self.started = (time.perf_counter(), cpu_seconds())

    def iteration_done(self, loss: Any) -> None:
        """Count an iteration; after the last of a block tell what it took. loss: a tensor, still to be computed."""
        self.losses.append(loss.detach())
        if len(self.losses) < self.block:
            return
        losses = tuple(float(one) for one in self.losses)  # waits for the device
        self.losses = []
        wall_s, cpu_s = time.perf_counter() - self.started[0], cpu_seconds() - self.started[1]
        signal_workers(signal.SIGSTOP)
        self.turns.send(Block(wall_s, cpu_s, losses))
        self.wait()

    def wake_workers(self) -> None:
        """Let the loading workers go on."""
        signal_workers(signal.SIGCONT)


def signal_workers(number: signal.Signals) -> None:
    """Send a signal to the loading workers of this process."""
    for worker in multiprocessing.active_children():
        if worker.pid is not None:
            os.kill(worker.pid, number)


def cpu_seconds() -> float:
    """Return the CPU time of this process and its loading workers."""
    return time.process_time() + sum(worker_seconds(worker.pid) for worker in multiprocessing.active_children())


def worker_seconds(pid: int | None) -> float:
    """Return the CPU time of another process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def turn_hook(turn: Turn) -> Any:
    """Return an mmengine hook that holds a training after every block, after all other hooks of its iteration."""
    from mmengine.hooks import Hook

    class TurnHook(Hook):  # type: ignore[misc]
        priority = "LOWEST"

        def before_train(self, runner: Any) -> None:
            del runner
            turn.begin()

        def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
            del runner, batch_idx, data_batch
            turn.iteration_done(outputs["loss"])

    return TurnHook()


def train_segloop(setting: Setting, turn: Turn) -> None:
    """Run our training program, with a hook more."""
    from segcore.nn import train_process, training

    class TurnTaking(training.Training):
        def runner(self, *arguments: Any, **options: Any) -> Any:
            runner = super().runner(*arguments, **options)
            runner.register_hook(turn_hook(turn))
            return runner

    training.Training = TurnTaking  # type: ignore[misc]
    keep_freed_memory()  # as its main does
    train_process.run(setting.job)


def train_mmseg(setting: Setting, turn: Turn) -> None:
    """Run mmengine's Runner on mmseg's own defaults."""
    from mmengine.runner import Runner

    from benchmarks.train_mmseg import runner_config

    runner = Runner.from_cfg(runner_config(setting, amp=setting.way == THEIRS_AMP))
    runner.register_hook(turn_hook(turn))
    runner.train()


WAYS: dict[str, Callable[[Setting, Turn], None]] = {
    OURS: train_segloop,
    THEIRS: train_mmseg,
    THEIRS_AMP: train_mmseg,
}
