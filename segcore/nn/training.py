"""One training: network, optimiser and data put into an mmengine Runner."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from mmseg.models import BaseSegmentor
from torch import nn

from segcore.nn.devices import resolve_precision, torch_device
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
from segcore.nn.training_log import TrainingLog
from segcore.process.jobs import TrainJob

MAX_GRADIENT_NORM = 5.0
WITHOUT_EFFECT = {"workers", "checkpoint_every", "keep_checkpoints", "iterations", "round_iterations"}
NO_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")


class Training:
    """A job, and what it needs on this machine."""

    def __init__(self, job: TrainJob) -> None:
        self.job = job
        self.device = torch_device(job.device)
        self.precision = resolve_precision(job.train.precision, self.device)
        self.files = ResumeFiles(Path(job.resume_dir), fingerprint(job), job.train.keep_checkpoints)
        self.stop = StopSignal()

    def seed_initial_weights(self) -> None:
        """Seed torch for the random part of the initial weights."""
        torch.manual_seed(self.job.seed)

    def train(self, network: BaseSegmentor, state: ResumeState | None) -> bool:
        """Train network in place from a resume state, or from the beginning; return whether it came to the end."""
        self.stop.listen()
        frozen = [network.backbone] if self.job.train.backbone_lr_mult == 0 else []
        for module in frozen:
            module.requires_grad_(False)
        network.to(device=self.device, memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(parameter_groups(network, self.job), lr=self.job.train.lr)
        first = 0
        if state is not None:
            network.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            first = int(state["iteration"])
        progress = Path(self.job.resume_dir) / "progress.jsonl"
        log = TrainingLog(progress, Path(self.job.out_dir) / "logs", first, self.job.iterations)
        if first < self.job.iterations:
            self.runner(network, optimizer, LoopStart(first, self.job.seed, frozen), log).train()
        log.close()
        return self.files.newest_iteration() == self.job.iterations

    def runner(
        self, network: BaseSegmentor, optimizer: torch.optim.Optimizer, start: LoopStart, log: TrainingLog
    ) -> LoadedRunner:
        """Return the Runner, its own logging, checkpoints and weight initialisation switched off."""
        train = self.job.train
        schedule = Schedule(self.job.iterations, train.warmup_iterations, train.poly_power)
        hooks = [
            ScheduleHook(schedule),
            ProgressHook(log, self.job.log_every),
            ResumeHook(self.files, train.checkpoint_every, self.stop),
        ]
        return LoadedRunner(
            model=network,
            work_dir=str(self.files.folder / "mmengine"),
            train_dataloader=train_loader(self.job, start.iteration),
            train_cfg={"type": SeededTrainLoop, "max_iters": self.job.iterations, "start": start},
            optim_wrapper=AutocastOptimWrapper(optimizer, self.precision, self.device, MAX_GRADIENT_NORM),
            default_hooks=dict.fromkeys(NO_HOOKS),
            custom_hooks=hooks,
            default_scope="mmseg",
            log_level="WARNING",
            randomness={"seed": self.job.seed},
            experiment_name="training",
        )


def parameter_groups(network: BaseSegmentor, job: TrainJob) -> list[dict[str, Any]]:
    """Return the optimiser's groups: backbone and rest, each with and without weight decay (norms and biases)."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
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
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
