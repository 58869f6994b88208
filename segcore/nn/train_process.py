"""The training program: `python -m segcore.nn.train_process JOB.json` (segcore/process/jobs.py: TrainJob).

It resumes from the job's resume_dir by itself. While it runs, progress.jsonl there gets one line every log_every
iterations: {"iteration", "num_iterations", "loss", "lr", "eta_s"}. When it ends, out_dir holds

    model.pth          {"state_dict": …, "meta": {"dataset_meta": …}}; equal weights give equal bytes
    model_config.py    with which plain mmseg opens it: mmseg.apis.init_model(model_config, model)
    earlier_0.pth …    weights after the iterations of earlier_at, where the job has some
    logs/              progress.jsonl and TensorBoard's events

Exit status: 0 done; 143 stopped by a signal after saving a checkpoint; that of the error's class (segcore/errors.py)
with one line on standard error otherwise.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segcore.errors import SegloopError
from segcore.nn.devices import be_a_good_neighbour, limit_visible_devices
from segcore.nn.host_memory import keep_freed_memory
from segcore.nn.known_warnings import silence_known_warnings
from segcore.process.jobs import TrainJob, read_train_job

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Run one training job; return the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    silence_known_warnings()
    be_a_good_neighbour()
    keep_freed_memory()
    try:
        job = read_train_job(Path(arguments[0]))
        limit_visible_devices(job.device)
        return run(job)
    except SegloopError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code


def run(job: TrainJob) -> int:
    """Train or go on training; return 0 when done, 143 when stopped."""
    from segcore.nn.earlier import EarlierFiles
    from segcore.nn.loss.apply import apply_loss, loss_plan
    from segcore.nn.networks import build_student, model_config
    from segcore.nn.train_loop import STOPPED
    from segcore.nn.training import Training
    from segcore.nn.weights import apply_weights, load_foreign

    config = model_config(job.model, job.train.size)
    training = Training(job)
    EarlierFiles(job).require_up_to(training.files)
    state = training.files.load_newest()
    if state is not None:
        log.info("resuming at iteration %d of %d", state["iteration"], job.iterations)
    training.seed_initial_weights()
    network = build_student(job.model, config)
    apply_loss(network, loss_plan(job))
    if job.init_weights is not None:
        apply_weights(network, load_foreign(Path(job.init_weights)), job.init_weights)
    if not training.train(network, state):
        log.info("stopped after saving a checkpoint")
        return STOPPED
    publish(job, network, config)
    return 0


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
