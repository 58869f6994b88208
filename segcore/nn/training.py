"""One training: network, optimiser and data put into an mmengine Runner."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmseg.models import BaseSegmentor
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from segcore.errors import StepError
from segcore.nn.consistency import require_one_output
from segcore.nn.devices import resolve_precision, torch_device
from segcore.nn.earlier import EarlierFiles, EarlierHook
from segcore.nn.ema import Average, AverageHook
from segcore.nn.fast_training import fused_adamw, speed_up
from segcore.nn.rank_processes import Place
from segcore.nn.ranks import ALONE, joined, leave
from segcore.nn.resume_files import ResumeFiles, ResumeState
from segcore.nn.schedule import Schedule
from segcore.nn.train_data import train_loader
from segcore.nn.train_loop import (
    AutocastOptimWrapper,
    LoadedRunner,
    LoopStart,
    ProgressHook,
    ResumeHook,
    ScheduleHook,
    SeededTrainLoop,
    StopSignal,
)
from segcore.nn.train_step import ConsistencyStep, TrainStep, supervised_step
from segcore.nn.training_log import TrainingLog
from segcore.nn.unlabelled_data import BothLoaders, unlabelled_loader
from segcore.process.jobs import TrainJob

log = logging.getLogger(__name__)

MAX_GRADIENT_NORM = 5.0
POSITIONS = ("relative_position_bias_table", "position_embeddings", "pos_embed", "cls_token", "register_tokens")
WITHOUT_EFFECT = {"gpus", "workers", "checkpoint_every", "keep_checkpoints", "iterations", "round_iterations"}
PUBLISHED, EMA_TEACHER = "published", "ema_teacher"  # averages
NO_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")


class Training:
    """A job, and what it needs on this machine."""

    def __init__(self, job: TrainJob) -> None:
        self.job = job
        self.device = torch_device(job.device)
        self.precision = resolve_precision(job.train.precision, self.device)
        self.files = ResumeFiles(Path(job.resume_dir), fingerprint(job), job.train.keep_checkpoints)
        self.stop = StopSignal()
        self.ranks = ALONE

    def train(self, network: BaseSegmentor, state: ResumeState | None, place: Place | None) -> bool:
        """Train network in place from a resume state, or from the beginning; return whether it came to the end.

        At the end network holds the weights to publish: the averaged ones where student.ema asks for them. place:
        which of several processes this is, None if it is alone; the leading one listens to signals and writes.
        """
        if place is not None:
            self.ranks = joined(place.rank, place.count, place.meeting, self.device)
        if self.ranks.leads:
            self.stop.listen()
        trainee = self.trainee(network)
        first = 0
        if state is not None:
            trainee.load(state)
            first = int(state["iteration"])
        if self.ranks.told(first) != first:
            raise StepError(f"process {self.ranks.rank} of this training resumes from {first}, the first one does not")
        if first < self.job.iterations:
            self.run(trainee, first)
        leave()
        if trainee.published is not network:
            network.load_state_dict(trainee.published.state_dict())
        return self.files.newest_iteration() == self.job.iterations

    def run(self, trainee: Trainee, first: int) -> None:
        """Train from an iteration on."""
        log = None
        if self.ranks.leads:
            progress = Path(self.job.resume_dir) / "progress.jsonl"
            log = TrainingLog(progress, Path(self.job.out_dir) / "logs", first, self.job.iterations)
        self.runner(trainee, first, log).train()
        if log is not None:
            log.close()

    def trainee(self, network: BaseSegmentor) -> Trainee:
        """Return a network on its device with all that is carried from step to step."""
        student = self.job.student
        self.ranks.with_common_statistics(network)
        frozen = frozen_modules(network, self.job)
        for module in frozen:
            module.requires_grad_(False)
        done = speed_up(network.to(self.device), self.device, self.precision)
        if self.ranks.leads:
            shared = f", each batch shared by {self.ranks.count} processes" if self.ranks.count > 1 else ""
            log.info("training: %s%s", done, shared)
        averages = {}
        if student.ema is not None:
            averages[PUBLISHED] = Average(network, student.ema)
        if student.consistency is not None:
            require_one_output(network, self.job.train.size)
            averages[EMA_TEACHER] = Average(network, student.consistency.ema)
        optimizer = fused_adamw(parameter_groups(network, self.job), self.job.train.lr)
        return Trainee(network, optimizer, averages, frozen)

    def runner(self, trainee: Trainee, first: int, log: TrainingLog | None) -> LoadedRunner:
        """Return the Runner, its own logging, checkpoints and weight initialisation switched off."""
        train, ranks = self.job.train, self.ranks
        schedule = Schedule(self.job.iterations, train.warmup_iterations, train.poly_power)
        hooks: list[Hook] = [
            ScheduleHook(schedule),
            AverageHook(trainee.averages),
            ResumeHook(self.files, train.checkpoint_every, self.stop, trainee.averages, ranks),
        ]
        if log is not None:
            hooks += [
                ProgressHook(log, self.job.log_every),
                EarlierHook(EarlierFiles(self.job), lambda: trainee.published),
            ]
        loader, step = self.batches_and_step(trainee, first)
        start = LoopStart(first, self.job.seed, self.device, trainee.frozen, step, ranks)
        optimizer = AutocastOptimWrapper(trainee.optimizer, self.precision, self.device, MAX_GRADIENT_NORM, ranks)
        return LoadedRunner(
            model=trainee.network,
            work_dir=str(self.files.folder / f"mmengine_{ranks.rank}"),
            train_dataloader=loader,
            train_cfg={"type": SeededTrainLoop, "max_iters": self.job.iterations, "start": start},
            optim_wrapper=optimizer,
            default_hooks=dict.fromkeys(NO_HOOKS),
            custom_hooks=hooks,
            default_scope="mmseg",
            log_level="WARNING",
            randomness={"seed": self.job.seed},
            experiment_name="training",
        )

    def batches_and_step(self, trainee: Trainee, first: int) -> tuple[Any, TrainStep]:
        """Return the batches from an iteration on, and what is done with each."""
        labelled, consistency = train_loader(self.job, first, self.ranks), self.job.student.consistency
        if consistency is None:
            return labelled, supervised_step
        both = BothLoaders(labelled, unlabelled_loader(self.job, consistency, first, self.ranks))
        return both, ConsistencyStep(trainee.averages[EMA_TEACHER], consistency)


@dataclass(frozen=True)
class Trainee:
    """A network and what its training carries from step to step. frozen: modules that stay in evaluation mode."""

    network: BaseSegmentor
    optimizer: torch.optim.Optimizer
    averages: dict[str, Average]
    frozen: list[nn.Module]

    @property
    def published(self) -> BaseSegmentor:
        """Return the network whose weights are kept."""
        return self.averages[PUBLISHED].network if PUBLISHED in self.averages else self.network

    def load(self, state: ResumeState) -> None:
        """Go on from a resume state."""
        self.network.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, average in self.averages.items():
            average.load_state_dict(state["averages"][name])


def frozen_modules(network: BaseSegmentor, job: TrainJob) -> list[nn.Module]:
    """Return the modules that a job leaves as they are: the backbone, or its batch norm, or none.

    Only the backbone's batch norm has statistics worth keeping; that of a fresh head has seen nothing yet.
    """
    if job.train.backbone_lr_mult == 0:
        return [network.backbone]
    if job.student.freeze_batch_norm:
        return [module for module in network.backbone.modules() if isinstance(module, _BatchNorm)]
    return []


def parameter_groups(network: BaseSegmentor, job: TrainJob) -> list[dict[str, Any]]:
    """Return the optimiser's groups: backbone and rest, each with and without weight decay.

    Norms, biases and what says where a patch lies are not pulled to zero, as the authors of Swin and DINO do it.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and not name.endswith(POSITIONS)
            groups.setdefault((name.startswith("backbone."), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "full_lr": job.train.lr * (job.train.backbone_lr_mult if in_backbone else 1.0),
            "weight_decay": job.train.weight_decay if decays else 0.0,
        }
        for (in_backbone, decays), parameters in sorted(groups.items())
    ]


def fingerprint(job: TrainJob) -> str:
    """Return the digest of all that determines a training, paths and machine matters left out."""
    what = {
        "model": {**vars(job.model), "config": None, "weights": None},
        "train": job.train.model_dump(mode="json", exclude=WITHOUT_EFFECT),
        "iterations": job.iterations,
        "seed": job.seed,
        "ground_truth": sorted(sample.image_id for sample in job.ground_truth),
        "pseudo": sorted(sample.image_id for sample in job.pseudo),
        "unlabelled": sorted(sample.image_id for sample in job.unlabelled),
        "student": job.student.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
