"""The check's child: `python -m segcore.nn.check_process` reads a CheckJob (segcore/process/jobs.py) from its input.

It builds the model, loads the weights, tries the given teacher, and prints one JSON line:
{"findings": [{"severity": "ok" | "error", "message", "exit_code"}]}. Nothing is kept.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

from segcore.errors import SegloopError
from segcore.nn.devices import be_a_good_neighbour, limit_visible_devices, torch_device
from segcore.nn.known_warnings import silence_known_warnings
from segcore.nn.rank_processes import devices_of
from segcore.process.jobs import CheckJob, ImportJob, parse_check_job


def main() -> int:
    """Try a job; return the exit status, 0 also when the job is wrong."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    silence_known_warnings()
    be_a_good_neighbour()
    answer, sys.stdout = sys.stdout, sys.stderr  # libraries print; the answer must stand alone
    findings = check(parse_check_job(sys.stdin.read()))
    answer.write(json.dumps({"findings": findings}) + "\n")
    return 0


def check(job: CheckJob) -> list[dict[str, Any]]:
    """Return what was found, one finding for each part of the job."""
    findings = [finding(lambda: try_device(job.device, job.gpus))]
    if findings[0]["severity"] == "error":
        return findings
    findings += [finding(partial(try_model, job, field)) for field in job.models]
    if job.teacher is not None:
        given = job.teacher
        findings.append(finding(lambda: try_teacher(given)))
    return findings


def finding(action: Callable[[], str]) -> dict[str, Any]:
    """Return what an action says, or its error."""
    try:
        return {"severity": "ok", "message": action(), "exit_code": 0}
    except SegloopError as error:
        return {"severity": "error", "message": str(error), "exit_code": error.exit_code}


def try_device(device: str, gpus: int) -> str:
    """Return the device in words."""
    first, *others = devices_of(device, gpus)
    limit_visible_devices(first)
    shared = f", each batch of a training shared by {gpus} processes" if others else ""
    return f"device: {torch_device(first)}{shared}"


def try_model(job: CheckJob, field: str) -> str:
    """Build a network with its starting weights and its loss; return its size in words."""
    from segcore.nn.consistency import require_one_output
    from segcore.nn.loss.apply import LossPlan, apply_loss
    from segcore.nn.networks import model_config, started_student

    model = job.models[field]
    network, report = started_student(model, model_config(model, job.size))
    any_weights = None if job.loss.class_weights == "none" else (1.0,) * len(model.class_names)
    apply_loss(network, LossPlan(job.loss, any_weights, job.size))
    if job.consistency:
        require_one_output(network, job.size)
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    weights = "random weights" if report is None else f"weights {model.weights}: {report}"
    return f"{field}: {num_parameters / 1e6:.1f} million parameters, {weights}"


def try_teacher(job: ImportJob) -> str:
    """Import the given teacher into a folder that is thrown away."""
    from segcore.nn import import_process

    with tempfile.TemporaryDirectory() as folder:
        import_process.run(dataclasses.replace(job, out_dir=folder))
    return f"teacher: {job.checkpoint} fits {job.config}"


if __name__ == "__main__":
    sys.exit(main())
