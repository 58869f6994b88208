"""The import program: `python -m segcore.nn.import_process JOB.json` (segcore/process/jobs.py: ImportJob).

It takes a checkpoint from outside, tensors only, and leaves model.pth and model_config.py in out_dir as a training
would. Every tensor of the model must be in the checkpoint: a teacher with random parts would label at random.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from segcore.errors import CheckpointError, SegloopError
from segcore.nn.known_warnings import silence_known_warnings
from segcore.process.jobs import ImportJob, ModelSpec, read_import_job


def main(arguments: Sequence[str]) -> int:
    """Run one import job; return the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    silence_known_warnings()
    try:
        run(read_import_job(Path(arguments[0])))
    except SegloopError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    return 0


def run(job: ImportJob) -> None:
    """Build the model of the given config, fill it whole, write both files."""
    from segcore.nn.networks import build_network, check_outputs, model_config
    from segcore.nn.student_files import write_student
    from segcore.nn.weights import apply_weights, load_foreign

    spec = ModelSpec(None, job.config, None, 1, job.class_names, job.palette)
    config = model_config(spec, job.size, trained=False)
    network = build_network(config)
    check_outputs(network, len(job.class_names))
    report = apply_weights(network, load_foreign(Path(job.checkpoint)), job.checkpoint)
    if report.missing or report.reshaped:
        raise CheckpointError(
            f"model.teacher.checkpoint {job.checkpoint}: must hold every tensor of {job.config}, but {report}; "
            "give the checkpoint that was trained with this config and these classes"
        )
    write_student(Path(job.out_dir), network, config, spec)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
