"""Long-lived labelling processes: the model is loaded once, images are asked for shard by shard.

When the process dies, or says nothing for too long, another one is asked for the shard again. It takes the images one
by one and so names the guilty one; an image on which it dies `max_failures` times is quarantined, the others are kept.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segcore.errors import CancelledError, StepError
from segcore.process.child import ProcessSpec, SupervisedProcess
from segcore.process.jobs import (
    PredictImage,
    PredictJob,
    PredictRequest,
    Ready,
    parse_ready,
    request_line,
    write_predict_job,
)
from segcore.process.watchdog import StalledError, StallWatch
from segcore.records import Quarantined

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabellerSpec:
    """How to run a labelling process; see ProcessSpec for log_path, pass_fds and grace_s.

    stall_s: seconds without a word after which it is ended, as if it had died on the images it is working on.
    """

    job: PredictJob
    log_path: Path
    pass_fds: tuple[int, ...]
    grace_s: float
    stall_s: float
    max_failures: int
    cancelled: Callable[[], bool]


class Labeller:
    """One labelling process; predict() may be called from several threads, one request runs at a time."""

    def __init__(self, spec: LabellerSpec, deaths: Counter[str] | None = None) -> None:
        self.spec = spec
        self.turn = threading.Lock()
        self.child: SupervisedProcess | None = None
        self.ready: Ready | None = None  # what it said of its model when it was started last
        self.one_by_one = False  # from a death until the request is answered
        self.deaths = Counter() if deaths is None else deaths  # by image_id it was working on, one by one

    def predict(
        self, images: Sequence[PredictImage], out: Path, on_progress: Callable[[int], None] | None = None
    ) -> list[Quarantined]:
        """Write a Predictions file of images; return those that could not be predicted, with the reason.

        on_progress: told how many images are done, before each group of them; it starts from 0 when the process died.
        StepError when the process fails for another reason than an image, CancelledError when the run is cancelled.
        """
        with self.turn:
            quarantined: list[Quarantined] = []
            while True:
                left = [image for image in images if self.deaths[image.image_id] < self.spec.max_failures]
                quarantined = [self.given_up(image) for image in images if image not in left]
                reply = self.ask(PredictRequest(tuple(left), str(out)), on_progress)
                if reply is not None:
                    self.hurry_again()
                    return quarantined + [Quarantined(item["image_id"], item["reason"]) for item in reply]

    def given_up(self, image: PredictImage) -> Quarantined:
        """Return the quarantine entry of an image that killed or stalled the process too often."""
        times = self.deaths[image.image_id]
        return Quarantined(image.image_id, f"the labelling process died {times} times on it; see {self.spec.log_path}")

    def ask(self, request: PredictRequest, on_progress: Callable[[int], None] | None) -> list[dict[str, str]] | None:
        """Send one request; return the images it set aside, or None when the process died on an image."""
        working: list[str] = []
        cancelled = self.spec.cancelled
        child = self.running()
        watch = StallWatch(self.spec.stall_s)
        try:
            child.send_line(request_line(request).rstrip("\n"), watch.check, cancelled=cancelled)
            while (line := child.read_line(watch.check, cancelled=cancelled)) is not None:
                watch.alive()
                message = parse(line)
                if message["event"] == "progress":
                    working = message["working"]
                    if on_progress is not None:
                        on_progress(message["done"])
                elif message["event"] == "done":
                    aside: list[dict[str, str]] = message["quarantined"]
                    return aside
                elif message["event"] == "failed":
                    raise StepError(f"labelling failed: {message['message']}; see {self.spec.log_path}")
        except CancelledError:
            self.close()
            raise
        except StalledError as error:
            self.died(working, StepError(f"{error}; see {self.spec.log_path}"))
            return None
        self.died(working, child.broken_conversation())
        return None

    def died(self, working: Sequence[str], failure: StepError) -> None:
        """End the process and note which image it died on; the failure is raised when it can be none's fault.

        Only one that takes images one by one tells that: any other opens some while it works on others.
        """
        self.close()
        if self.one_by_one and not working:
            raise failure
        if self.one_by_one:
            self.deaths[working[0]] += 1
        self.one_by_one = True
        logger.warning("the labelling process died near %s; going on. %s", ", ".join(working[:3]) or "none", failure)

    def hurry_again(self) -> None:
        """Let the next request be answered in groups, ahead of which images are opened."""
        if self.one_by_one:
            self.close()
        self.one_by_one = False

    def running(self) -> SupervisedProcess:
        """Return the process, started and ready."""
        if self.child is not None and self.child.poll() is None:
            return self.child
        self.close()
        spec = self.spec
        job_path = spec.log_path.with_suffix(".job.json")
        job_path.parent.mkdir(parents=True, exist_ok=True)
        write_predict_job(job_path, replace(spec.job, one_by_one=self.one_by_one))
        command = predict_command(job_path)
        child = SupervisedProcess(ProcessSpec(command, spec.log_path, spec.pass_fds, spec.grace_s, pipes=True)).start()
        self.child = child
        try:
            line = child.read_line(StallWatch(spec.stall_s).check, cancelled=spec.cancelled)
            if line is None:
                raise child.broken_conversation()
            self.ready = ready_of(parse(line), spec.log_path)
        except StepError:
            self.close()
            raise
        return child

    def close(self) -> None:
        """End the process."""
        if self.child is not None:
            self.child.close()
            self.child = None


def predict_command(job_path: Path) -> tuple[str, ...]:
    """Return the command of the prediction program."""
    return (sys.executable, "-m", "segcore.nn.predict_process", str(job_path))


def ready_of(message: dict[str, Any], log_path: Path) -> Ready:
    """Return the first message of a process as a Ready; StepError, with the process's reason, when it is none."""
    if message["event"] != "ready":
        raise StepError(f"labelling failed: {message.get('message', message)}; see {log_path}")
    return parse_ready(message)


def parse(line: str) -> dict[str, Any]:
    """Return one line of the process as an object; StepError when it is none."""
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict) or "event" not in message:
        raise StepError(f"a labelling process must answer in JSON lines with an event, got {line[:200]!r}")
    return message
