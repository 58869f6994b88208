"""The prediction program: `python -m segcore.nn.predict_process JOB.json` (segcore/process/jobs.py: PredictJob).

It loads the model once, then answers requests until standard input ends. One line of JSON each way:

    <- {"event": "ready", "device": "cpu", "precision": "fp32", "num_classes", "class_names", "palette"}     (Ready)
    -> {"images": [{"image_id", "path", "small_size"}], "out": path}         (PredictRequest)
    <- {"event": "progress", "done": 8, "total": 100, "working": [image ids]}   before each group of images
    <- {"event": "done", "out", "num_images", "quarantined": [{"image_id", "reason"}], "wall_s"}
    <- {"event": "failed", "error": class name, "message"}                     and the program ends

An image that cannot be decoded is quarantined and the others are kept; out is a predictions file
(segcore/pseudo/predictions.py) without it. If the program dies, the last "working" names the images it died on.
Everything that libraries print goes to standard error. Exit status: 0, or that of the error's class.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from segcore.errors import SegloopError
from segcore.nn.devices import be_a_good_neighbour, limit_visible_devices
from segcore.nn.host_memory import keep_freed_memory
from segcore.nn.known_warnings import silence_known_warnings
from segcore.process.jobs import PredictRequest, Ready, parse_request, read_predict_job

if TYPE_CHECKING:
    from segcore.nn.predictor import Predictor


class Events:
    """Standard output, kept for events alone: whatever else is printed goes to standard error."""

    def __init__(self) -> None:
        self.stream: TextIO = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def send(self, event: str, **values: Any) -> None:
        """Write one event."""
        self.stream.write(json.dumps({"event": event, **values}) + "\n")
        self.stream.flush()


def main(arguments: Sequence[str]) -> int:
    """Serve requests until standard input ends; return the exit status."""
    events = Events()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    silence_known_warnings()
    be_a_good_neighbour()
    keep_freed_memory()
    try:
        serve(Path(arguments[0]), events)
    except SegloopError as error:
        events.send("failed", error=type(error).__name__, message=str(error))
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    return 0


def serve(job_path: Path, events: Events) -> None:
    """Load the model, say so, and answer requests."""
    job = read_predict_job(job_path)
    limit_visible_devices(job.device)
    from segcore.nn.class_names import told_classes
    from segcore.nn.predictor import open_predictor

    predictor = open_predictor(job)
    num_classes = predictor.teachers[0].num_classes
    names, palette = told_classes(Path(job.teachers[0].config), num_classes)
    ready = Ready(predictor.spec.device, predictor.spec.precision, num_classes, names, palette)
    events.send("ready", **asdict(ready))
    for line in sys.stdin:
        answer(predictor, parse_request(line), events)


def answer(predictor: Predictor, request: PredictRequest, events: Events) -> None:
    """Carry out one request."""
    started_s = time.monotonic()
    total = len(request.images)
    quarantined = predictor.run(
        request, lambda done, working: events.send("progress", done=done, total=total, working=list(working))
    )
    events.send(
        "done",
        out=request.out,
        num_images=total - len(quarantined),
        quarantined=[vars(found) for found in quarantined],
        wall_s=round(time.monotonic() - started_s, 3),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
