"""mmengine's iteration loop, made resumable to the bit on a CPU and stoppable between two iterations."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from segcore.errors import StepError
from segcore.nn.batch_feed import on_device
from segcore.nn.devices import Precision, autocast
from segcore.nn.ema import Average
from segcore.nn.ranks import ALONE, Ranks
from segcore.nn.resume_files import ResumeFiles
from segcore.nn.schedule import Schedule
from segcore.nn.train_step import TrainStep, supervised_step
from segcore.nn.training_log import TrainingLog

STOPPED = 143  # exit status of a program that SIGTERM ended


class StopSignal:
    """Whether SIGTERM or SIGINT has asked for the end."""

    def __init__(self) -> None:
        self.raised = False

    def listen(self) -> None:
        """Take the two signals from now on."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self.note)

    def note(self, _signum: int, _frame: FrameType | None) -> None:
        """Remember the request; the loop acts on it between two iterations."""
        self.raised = True


@dataclass(frozen=True)
class LoopStart:
    """Where a loop begins, and what it does with a batch.

    seed: of the whole training. device: "cpu" or "cuda". frozen: modules that stay in evaluation mode. ranks: who
    shares the training.
    """

    iteration: int
    seed: int
    device: str
    frozen: Sequence[nn.Module]
    step: TrainStep = supervised_step
    ranks: Ranks = ALONE

    def __deepcopy__(self, _memo: object) -> LoopStart:
        """Return itself: mmengine copies a loop's config, and copies of the modules would not be the network's."""
        return self


@LOOPS.register_module()
class SeededTrainLoop(IterBasedTrainLoop):
    """Iterations start.iteration..max_iters-1, each seeded by its own number (dropout and the like).

    The loader must begin at start.iteration.
    """

    def __init__(self, runner: Runner, dataloader: Any, max_iters: int, start: LoopStart) -> None:
        super().__init__(runner, dataloader, max_iters, val_interval=max_iters + 1)
        self._iter = start.iteration
        self.start = start

    def run(self) -> nn.Module:
        """Train to the end, or until a hook sets stop_training."""
        self.runner.call_hook("before_train")
        batches = on_device(self.dataloader, self.start.device)
        try:
            while self._iter < self._max_iters and not self.stop_training:
                self.train_on(next(batches))
        finally:
            batches.close()  # ends the loading workers; the interpreter's own way, SIGTERM, they ignore
        self.runner.call_hook("after_train")
        return self.runner.model

    def train_on(self, batch: Any) -> None:
        """Run one seeded iteration."""
        self.runner.model.train()
        for module in self.start.frozen:
            module.eval()
        torch.manual_seed(self.start.ranks.seed(self.start.seed * 1_000_003 + self._iter))
        self.run_iter(batch)

    def run_iter(self, data_batch: Any) -> None:
        """Take one optimisation step, the hooks around it."""
        runner = self.runner
        runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=data_batch)
        found = self.start.step(runner.model, runner.optim_wrapper, data_batch)
        outputs = {name: value.detach() for name, value in found.items()}
        self.start.ranks.mean(list(outputs.values()))
        runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=data_batch, outputs=outputs)
        self._iter += 1


class LoadedRunner(Runner):
    """A Runner whose model already holds its weights."""

    def _init_model_weights(self) -> None:
        """Leave the weights alone; the base class would draw them again."""


class AutocastOptimWrapper(OptimWrapper):
    """An OptimWrapper whose forward passes run in a given precision, on any device."""

    def __init__(
        self, optimizer: torch.optim.Optimizer, precision: Precision, device: str, max_norm: float, ranks: Ranks = ALONE
    ) -> None:
        super().__init__(optimizer)
        self.max_norm = max_norm
        self.ranks = ranks
        self.precision = precision
        self.device = device

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass under autocast."""
        with super().optim_context(model), autocast(self.precision, self.device):
            yield

    def step(self, **kwargs: Any) -> None:
        """Average gradients over the processes, clip, update; mmengine's clipping waits for a GPU to tell the norm."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self.ranks.mean([parameter.grad for parameter in parameters if parameter.grad is not None])
        nn.utils.clip_grad_norm_(parameters, self.max_norm)
        self.optimizer.step(**kwargs)


class ScheduleHook(Hook):
    """Set every group's learning rate before each iteration."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def before_train_iter(self, runner: Runner, batch_idx: int, **_: Any) -> None:
        """Set the rate of iteration batch_idx."""
        factor = self.schedule.factor(batch_idx)
        for group in runner.optim_wrapper.optimizer.param_groups:
            group["lr"] = group["full_lr"] * factor


class ProgressHook(Hook):
    """Write losses, learning rate and remaining time every few iterations, and stop on a loss that is no number."""

    def __init__(self, log: TrainingLog, every: int) -> None:
        self.log = log
        self.every = every
        self.parts: list[dict[str, torch.Tensor]] = []

    def after_train_iter(self, runner: Runner, batch_idx: int, outputs: dict[str, Any], **_: Any) -> None:
        """Note the parts of the loss; write a line when due."""
        self.parts.append({name: value.detach() for name, value in outputs.items()})
        iteration = batch_idx + 1
        if iteration % self.every == 0 or iteration == runner.max_iters:
            means = {name: float(torch.stack([part[name] for part in self.parts]).mean()) for name in outputs}
            self.parts.clear()
            loss = means.pop("loss")
            if not math.isfinite(loss):
                raise StepError(f"training: the loss is {loss} before iteration {iteration}; lower train.lr")
            groups = runner.optim_wrapper.optimizer.param_groups
            self.log.write(iteration, loss, max(group["lr"] for group in groups), means)


class ResumeHook(Hook):
    """Save a resume checkpoint every few iterations, at the end, and when asked to stop."""

    priority = "LOWEST"

    def __init__(
        self,
        files: ResumeFiles,
        every: int,
        stop: StopSignal,
        averages: Mapping[str, Average],
        ranks: Ranks = ALONE,
    ) -> None:
        self.files = files
        self.every = every
        self.stop = stop
        self.averages = averages
        self.ranks = ranks

    def after_train_iter(self, runner: Runner, batch_idx: int, outputs: dict[str, Any], **_: Any) -> None:
        """Save when due, in the leading process; the others stop when it does."""
        iteration = batch_idx + 1
        stopping = bool(self.ranks.told(self.stop.raised))
        if self.ranks.leads and (iteration % self.every == 0 or iteration == runner.max_iters or stopping):
            if not bool(torch.isfinite(outputs["loss"])):
                raise StepError(f"training: the loss is not finite at iteration {iteration}; lower train.lr")
            parts = {
                "model": runner.model.state_dict(),
                "optimizer": runner.optim_wrapper.optimizer.state_dict(),
                "averages": {name: average.state_dict() for name, average in self.averages.items()},
            }
            self.files.save(iteration, parts)
        if stopping:
            runner.train_loop.stop_training = True
