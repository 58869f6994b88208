"""The training program: `python -m segcore.nn.train_process JOB.json` (segcore/process/jobs.py: TrainJob).

It resumes from the job's resume_dir by itself. While it runs, progress.jsonl there gets one line every log_every
iterations: {"iteration", "num_iterations", "loss", "lr", "eta_s"}. When it ends, out_dir holds

    model.pth          {"state_dict": …, "meta": {"dataset_meta": …}}; equal weights give equal bytes
    model_config.py    with which plain mmseg opens it: mmseg.apis.init_model(model_config, model)
    earlier_0.pth …    weights after the iterations of earlier_at, where the job has some
    logs/              progress.jsonl and TensorBoard's events

Exit status: 0 done; 143 stopped by a signal after saving a checkpoint; that of the error's class (segcore/errors.py)
with one line on standard error otherwise.

With train.gpus it starts itself again for each further GPU, with arguments that tell the process its place.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from segcore.errors import SegloopError
from segcore.nn.devices import be_a_good_neighbour, limit_visible_devices
from segcore.nn.host_memory import keep_freed_memory
from segcore.nn.known_warnings import silence_known_warnings
from segcore.nn.rank_processes import Place, devices_of, others, parsed_arguments
from segcore.process.jobs import TrainJob, read_train_job

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmseg.models import BaseSegmentor
    from torch import nn

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Run one training job, or one process's share of it; return the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    silence_known_warnings()
    be_a_good_neighbour()
    keep_freed_memory()
    (job_path, place), environment = parsed_arguments(arguments), dict(os.environ)
    try:
        job = read_train_job(job_path)
        devices = devices_of(job.device, job.train.gpus) if place is None else [place.device]
        job = replace(job, device=devices[0])
        limit_visible_devices(job.device)
        if place is not None:
            return follow(job, place)
        return run(job, lambda: others(job_path, devices, environment))
    except SegloopError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code


def run(job: TrainJob, beside: Callable[[], AbstractContextManager[Place | None]] = nullcontext) -> int:
    """Train or go on training; return 0 when done, 143 when stopped.

    beside: has the other processes of the training run, once what they resume from is settled.
    """
    from segcore.nn.earlier import EarlierFiles
    from segcore.nn.networks import model_config
    from segcore.nn.train_loop import STOPPED
    from segcore.nn.training import Training

    config = model_config(job.model, job.train.size)
    training = Training(job)
    EarlierFiles(job).require_up_to(training.files)
    state = training.files.load_newest()
    if state is not None:
        log.info("resuming at iteration %d of %d", state["iteration"], job.iterations)
    network = initial_network(job, config)
    with beside() as place:
        if not training.train(network, state, place):
            log.info("stopped after saving a checkpoint")
            return STOPPED
    publish(job, network, config)
    return 0


def follow(job: TrainJob, place: Place) -> int:
    """Do one process's share of a training that another one leads, from where that one begins to where it stops."""
    from segcore.nn.networks import model_config
    from segcore.nn.training import Training

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)  # the leading process hears them and tells
    training = Training(job)
    state = training.files.load_newest()
    training.train(initial_network(job, model_config(job.model, job.train.size)), state, place)
    return 0


def initial_network(job: TrainJob, config: Config) -> BaseSegmentor:
    """Return the network that a training begins with, the same in all of its processes."""
    import torch

    from segcore.nn.loss.apply import apply_loss, loss_plan
    from segcore.nn.networks import build_student
    from segcore.nn.weights import apply_weights, load_foreign

    torch.manual_seed(job.seed)
    network = build_student(job.model, config)
    apply_loss(network, loss_plan(job))
    if job.init_weights is not None:
        apply_weights(network, load_foreign(Path(job.init_weights)), job.init_weights)
    return network


def publish(job: TrainJob, network: nn.Module, config: Config) -> None:
    """Write the weights and the config that opens them."""
    from segcore.nn.earlier import EarlierFiles
    from segcore.nn.student_files import write_student

    out = Path(job.out_dir)
    write_student(out, network, config, job.model)
    EarlierFiles(job).publish(out)
    (out / "logs").mkdir(exist_ok=True)
    shutil.copyfile(Path(job.resume_dir) / "progress.jsonl", out / "logs" / "progress.jsonl")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
