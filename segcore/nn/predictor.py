"""The labelling engine: images in, predictions file out, with decoding, inference and writing overlapped.

The way of an image: decoded ahead by a thread (read_ahead.py), gathered with others into a group, its views run
together with theirs (tta.py; windows.py for large ones), brought to its own size and averaged (full_size.py), reduced
to label map, confidence and histogram on the device (final_maps.py), written by another thread.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from segcore.errors import StepError
from segcore.nn.batch_size import MAX_GROUP, MAX_GROUP_BYTES, GroupLimit, logits_bytes, pass_budget
from segcore.nn.devices import labelling_precision, torch_device
from segcore.nn.final_maps import FinalMaps, final_maps
from segcore.nn.lanes import Lanes, lanes_of
from segcore.nn.passes import PassBudget, is_out_of_memory, release_memory
from segcore.nn.read_ahead import Decoded, Image, Reader
from segcore.nn.teacher import Teacher, open_earlier, open_teachers
from segcore.nn.tta import ViewSpec, one_view, view_logits
from segcore.process.jobs import PredictImage, PredictJob, PredictRequest
from segcore.pseudo.predictions import PredictionWriter
from segcore.pseudo.votes import VoteWriter, votes_path
from segcore.records import Quarantined

log = logging.getLogger(__name__)

MAX_UNWRITTEN = 8  # label maps that wait for being written

Progress = Callable[[int, Sequence[str]], None]  # images done, ids being worked on


@dataclass
class Predictor:
    """Teachers ready to label images.

    limit: of each lane. earlier: checkpoints along the teachers' trainings, whose agreement with them is noted.
    num_labelled: images so far, over all requests. memory_reason: why the last image did not fit, None if all did.
    """

    teachers: tuple[Teacher, ...]
    spec: ViewSpec
    reader: Reader
    budget: PassBudget
    limit: GroupLimit
    one_by_one: bool
    lanes: Lanes
    earlier: tuple[Teacher, ...] = ()
    num_labelled: int = 0
    memory_reason: str | None = None

    def run(self, request: PredictRequest, progress: Progress) -> tuple[Quarantined, ...]:
        """Write the predictions of a request, in its order; return the images that have none, with the reason.

        progress: called before each group of images with how many are done and the ids of the group. The file
        appears under its name only when complete.
        """
        quarantined: list[Quarantined] = []
        part = Path(request.out + ".part")
        votes = votes_path(Path(request.out))
        with PredictionWriter(part) as writer, VoteWriter(votes) as voter, ThreadPoolExecutor(1) as thread:
            unwritten: deque[Future[None]] = deque()
            with closing(self.announced(request.images, progress)) as groups:
                for found in (found for group in groups for found in self.labelled(group)):
                    if isinstance(found, Quarantined):
                        quarantined.append(found)
                        continue
                    unwritten.append(thread.submit(write, writer, voter, found))
                    if len(unwritten) > MAX_UNWRITTEN:
                        unwritten.popleft().result()
            for written in unwritten:
                written.result()
            if self.memory_reason is not None and not self.num_labelled:
                raise StepError(f"not one image could be labelled: {self.memory_reason}")
        part.replace(request.out)
        return tuple(quarantined)

    def announced(self, images: Sequence[PredictImage], progress: Progress) -> Generator[list[Decoded], None, None]:
        """Yield groups of decoded images after telling progress; one by one, an image is told before it is opened."""
        if self.one_by_one:
            for done, image in enumerate(images):
                progress(done, [image.image_id])
                yield [self.reader.read(image)]
            return
        done = 0
        for group in self.groups(images):
            progress(done, [image.image_id for image, _ in group])
            yield group
            done += len(group)

    def groups(self, images: Sequence[PredictImage]) -> Iterator[list[Decoded]]:
        """Yield images in order, decoded ahead, as many together as memory allows at that moment."""
        group: list[Decoded] = []
        num_bytes = 0
        with closing(self.reader.ahead(images)) as decoded:
            for image, pixels in decoded:
                most = self.lanes.count * min(self.lanes.turns * self.limit.images(self.budget), MAX_GROUP)
                group.append((image, pixels))
                num_bytes += 0 if isinstance(pixels, Quarantined) else pixels.nbytes
                if len(group) >= most or num_bytes >= MAX_GROUP_BYTES:
                    yield group
                    group, num_bytes = [], 0
        if group:
            yield group

    def labelled(self, group: Sequence[Decoded]) -> Iterator[FinalMaps | Quarantined]:
        """Yield what becomes of each image of a group, in order."""
        good = [(image, pixels) for image, pixels in group if not isinstance(pixels, Quarantined)]
        made = iter(self.label(good))
        for _, pixels in group:
            yield pixels if isinstance(pixels, Quarantined) else next(made)

    def label(self, group: Sequence[tuple[PredictImage, Image]]) -> list[FinalMaps | Quarantined]:
        """Return the maps of the images of a group, worked on side by side; with too little memory, in one lane."""
        try:
            made: list[FinalMaps | Quarantined] = self.lanes.run(self.label_together, group)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            release_memory()
            made = self.label_in_one_lane(group)
        self.num_labelled += sum(not isinstance(maps, Quarantined) for maps in made)
        return made

    def label_in_one_lane(self, group: Sequence[tuple[PredictImage, Image]]) -> list[FinalMaps | Quarantined]:
        """Return the maps of images that are worked on together; with too little memory, of fewer at once."""
        try:
            return self.label_together(group)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        release_memory()
        if not self.budget.halve() and len(group) == 1:
            return [self.too_large(*group[0])]
        middle = (len(group) + 1) // 2
        return self.label_in_one_lane(group[:middle]) + self.label_in_one_lane(group[middle:])

    def label_together(self, group: Sequence[tuple[PredictImage, Image]]) -> list[FinalMaps | Quarantined]:
        """Return the maps of images whose views share forward passes."""
        if not group:
            return []
        with torch.inference_mode():
            images = [pixels for _, pixels in group]
            logits = view_logits(self.teachers, images, self.spec, self.budget)
            earlier = view_logits(self.earlier, images, one_view(self.spec), self.budget) if self.earlier else []
            made: list[FinalMaps | Quarantined] = []
            for image, _ in group:
                made.append(final_maps(image, logits.pop(0), self.teachers, earlier.pop(0) if earlier else None))
        return made

    def too_large(self, image: PredictImage, pixels: Image) -> Quarantined:
        """Return the quarantine entry of an image for which memory is too small."""
        self.memory_reason = (
            f"out of memory on {self.spec.device} with one view of this {pixels.shape[1]}x{pixels.shape[0]} image at a "
            f"time; make label.sizes {list(self.spec.sizes)} smaller, or free memory on the device"
        )
        return Quarantined(image.image_id, self.memory_reason)


def write(writer: PredictionWriter, voter: VoteWriter, maps: FinalMaps) -> None:
    """Write the prediction of an image as soon as it has come from the device, and its votes if it has any."""
    writer.write(maps.prediction())
    votes = maps.votes()
    if votes is not None:
        voter.write(votes)


def open_predictor(job: PredictJob) -> Predictor:
    """Build the networks of a job, load their weights, put them on the device, and say how labelling will run."""
    device = torch_device(job.device)
    precision = labelling_precision(job.label.precision, device)
    teachers = open_teachers(job, device, precision)
    spec = ViewSpec(job.label.sizes, job.label.flip, job.label.resize, precision, device)
    earlier = open_earlier(job, one_view(spec).sizes, device, precision)
    budget = pass_budget(teachers, spec)
    lanes = lanes_of(device)
    limit = GroupLimit(spec, teachers, logits_bytes(device) // lanes.count, earlier)
    reader = Reader(job.max_megapixels, job.num_threads or min(os.cpu_count() or 1, 4))
    log.info(
        "labelling on %s, %s: %s; forward passes of at most %.2f megapixels, images together: %d in each of %d lanes",
        *(device, precision, "; ".join(teacher.fast.description for teacher in teachers)),
        *(budget.pixels / 1e6, 1 if job.one_by_one else limit.images(budget), lanes.count),
    )
    return Predictor(teachers, spec, reader, budget, limit, job.one_by_one, lanes, earlier)
