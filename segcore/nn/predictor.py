"""The labelling engine: images in, predictions file out, with decoding, inference and writing overlapped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from mmseg.models import BaseSegmentor
from numpy.typing import NDArray
from torch import Tensor

from segcore.data.images import read_image
from segcore.errors import DataError
from segcore.nn.devices import resolve_precision, torch_device
from segcore.nn.full_size import AreaAverage, ViewLogits
from segcore.nn.teacher import open_teachers
from segcore.nn.tta import ViewSpec, images_per_pass, view_logits
from segcore.process.jobs import PredictImage, PredictJob, PredictRequest
from segcore.pseudo.confidence import count_levels, quantise
from segcore.pseudo.predictions import Prediction, PredictionWriter
from segcore.records import Quarantined

MAX_DECODED = 16  # images decoded ahead; bounds memory together with batch_megapixels
Image = NDArray[np.uint8]
Decoded = tuple[PredictImage, Image | Quarantined]
Progress = Callable[[int, Sequence[str]], None]  # images done, ids being worked on


@dataclass(frozen=True)
class Predictor:
    """A network ready to label images."""

    network: BaseSegmentor
    spec: ViewSpec
    max_megapixels: float
    num_threads: int
    one_by_one: bool

    def run(self, request: PredictRequest, progress: Progress) -> tuple[Quarantined, ...]:
        """Write the predictions of a request, in its order; return the images that cannot be decoded.

        progress: called before each group of images with how many are done and the ids of the group. The file
        appears under its name only when complete.
        """
        quarantined: list[Quarantined] = []
        part = Path(request.out + ".part")
        with ThreadPoolExecutor(1) as encoder, PredictionWriter(part) as writer:
            written: Future[None] | None = None
            for group in self.announced(request.images, progress):
                good = [(image, pixels) for image, pixels in group if not isinstance(pixels, Quarantined)]
                quarantined += [found for _, found in group if isinstance(found, Quarantined)]
                for prediction in self.predict(good):
                    if written is not None:
                        written.result()
                    written = encoder.submit(writer.write, prediction)
            if written is not None:
                written.result()
        part.replace(request.out)
        return tuple(quarantined)

    def announced(self, images: Sequence[PredictImage], progress: Progress) -> Iterator[list[Decoded]]:
        """Yield groups of decoded images after telling progress; one by one, an image is told before it is opened."""
        if self.one_by_one:
            for done, image in enumerate(images):
                progress(done, [image.image_id])
                yield [self.decode(image)]
            return
        done = 0
        for group in self.groups(images):
            progress(done, [image.image_id for image, _ in group])
            yield group
            done += len(group)

    def groups(self, images: Sequence[PredictImage]) -> Iterator[list[Decoded]]:
        """Yield runs of consecutive images of one size, decoded ahead, a forward pass of the largest view each."""
        per_pass = images_per_pass(self.spec, self.network.out_channels)
        decoded = self.decoded(images)
        for _, run in groupby(decoded, key=lambda item: shape_of(item[1])):
            yield from chunks(run, min(per_pass, MAX_DECODED))

    def decoded(self, images: Sequence[PredictImage]) -> Iterator[Decoded]:
        """Yield images in order, decoded by threads, at most MAX_DECODED ahead."""
        with ThreadPoolExecutor(self.num_threads) as pool:
            waiting: list[Future[Decoded]] = []
            for image in images:
                waiting.append(pool.submit(self.decode, image))
                if len(waiting) > MAX_DECODED:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()

    def decode(self, image: PredictImage) -> Decoded:
        """Return one image's pixels, or why there are none."""
        try:
            return image, read_image(Path(image.path), self.max_megapixels)
        except (DataError, OSError) as error:
            return image, Quarantined(image.image_id, str(error))

    def predict(self, group: Sequence[tuple[PredictImage, Image]]) -> Iterator[Prediction]:
        """Yield the predictions of images of one size."""
        if not group:
            return
        with torch.inference_mode():
            logits = view_logits(self.network, [pixels for _, pixels in group], self.spec)
            for (image, _), of_image in zip(group, logits, strict=True):
                yield prediction_of(image, of_image)


def prediction_of(image: PredictImage, logits: ViewLogits) -> Prediction:
    """Return label map, confidence and, if asked for, the small label map of one image."""
    label_map, levels = np.empty(logits.size, np.uint8), np.empty(logits.size, np.uint8)
    average = AreaAverage(logits.size, image.small_size) if image.small_size is not None else None
    for rows in logits.bands():
        probabilities_CHW = logits.probabilities(rows)
        confidence, class_ids = probabilities_CHW.max(dim=0)
        label_map[rows] = as_label_map(class_ids)
        levels[rows] = quantise(confidence.cpu().numpy())
        if average is not None:
            average.add(probabilities_CHW, rows)
    small = as_label_map(average.label_map()) if average else None
    histogram = count_levels(label_map, levels, logits.views[0].shape[1])
    return Prediction(image.image_id, label_map, levels, small, histogram)


def as_label_map(class_ids_HW: Tensor) -> NDArray[np.uint8]:
    """Return class ids as (H, W) uint8."""
    return class_ids_HW.to(torch.uint8).cpu().numpy()


def open_predictor(job: PredictJob) -> Predictor:
    """Build the network of a job, load its weights and put it on the device."""
    device = torch_device(job.device)
    precision = resolve_precision(job.label.precision, device)
    teachers = open_teachers(job, device, precision)
    spec = ViewSpec(
        sizes=job.label.sizes,
        flip=job.label.flip,
        resize=job.label.resize,
        precision=precision,
        device=device,
        batch_megapixels=job.batch_megapixels,
    )
    num_threads = job.num_threads or min(os.cpu_count() or 1, 4)
    return Predictor(teachers[0].network, spec, job.max_megapixels, num_threads, job.one_by_one)


def shape_of(pixels: Image | Quarantined) -> tuple[int, ...]:
    """Return what images must have in common to be predicted together."""
    return () if isinstance(pixels, Quarantined) else pixels.shape


def chunks(items: Iterator[Decoded], size: int) -> Iterator[list[Decoded]]:
    """Yield lists of at most size items."""
    chunk: list[Decoded] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
