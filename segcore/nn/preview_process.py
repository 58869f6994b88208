"""The preview program: `python -m segcore.nn.preview_process JOB.json NUM OUT.png` draws what a training would see.

The job is a TrainJob (segcore/process/jobs.py), whose samples are read as a training reads them. NUM images of each
kind, ground truth and pseudo-labelled, get a row each: as on disk, then three draws of their augmentation.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segcore.errors import SegloopError
from segcore.nn.devices import be_a_good_neighbour, limit_visible_devices
from segcore.nn.known_warnings import silence_known_warnings
from segcore.process.jobs import TrainJob, read_train_job
from segcore.records import IGNORE_INDEX

if TYPE_CHECKING:
    from segcore.nn.augment.example import Example
    from segcore.nn.sample_stream import Source
    from segcore.nn.train_data import TrainSet
    from segcore.outputs.augment_sheet import SheetRow, Tile

NUM_DRAWS = 3
TILE_PX = 192
PADDING = 116  # grey level: smaller samples are filled up with about the mean colour, ignored


def main(arguments: Sequence[str]) -> int:
    """Draw one sheet; return the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    silence_known_warnings()
    be_a_good_neighbour()
    limit_visible_devices("cpu")
    try:
        run(read_train_job(Path(arguments[0])), int(arguments[1]), Path(arguments[2]))
    except SegloopError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return error.exit_code
    return 0


def run(job: TrainJob, num: int, out: Path) -> None:
    """Draw num images of each kind."""
    from PIL import Image

    from segcore.nn.train_data import train_set
    from segcore.outputs.augment_sheet import SheetStyle, contact_sheet

    samples = train_set(job)
    captions = ("as on disk", *(f"as the model sees it ({draw + 1})" for draw in range(NUM_DRAWS)))
    style = SheetStyle(TILE_PX, captions, job.model.class_names, job.model.palette)
    stands_in = job.pseudo_maps == job.ground_truth_maps
    titles = {"ground_truth": "ground truth", "pseudo": "as a pseudo-label" if stands_in else "pseudo-label"}
    rows = [row for source in samples.sources for row in rows_of(samples, source, titles[source], num)]
    Image.fromarray(contact_sheet(rows, style)).save(out, "PNG")


def rows_of(samples: TrainSet, source: Source, title: str, num: int) -> Iterator[SheetRow]:
    """Yield a row for each of num images of a source, drawn at random; title: what they are."""
    from segcore.nn.sample_stream import Position
    from segcore.outputs.augment_sheet import SheetRow

    images, seed = samples.sources[source], samples.spec.seed
    for row, index in enumerate(np.random.default_rng(seed).permutation(len(images))[:num].tolist()):
        places = (Position(source, index, (seed, row * NUM_DRAWS + draw)) for draw in range(NUM_DRAWS))
        draws = (padded(samples.augmented(place), samples.augmentation.size) for place in places)
        yield SheetRow(f"{title}: {images.samples[index].image_id}", (tile(images.example(index)), *map(tile, draws)))


def tile(example: Example) -> Tile:
    """Return an example as a picture of the sheet."""
    from segcore.outputs.augment_sheet import Tile

    return Tile(np.ascontiguousarray(example.image[..., ::-1]), example.label_map)


def padded(example: Example, size: int) -> Example:
    """Return an example filled up to a square at the right and below, as batches are."""
    from segcore.nn.augment.example import Example

    image = np.full((size, size, 3), PADDING, np.uint8)
    label_map = np.full((size, size), IGNORE_INDEX, np.uint8)
    image[: example.height, : example.width] = example.image
    label_map[: example.height, : example.width] = example.label_map
    return Example(image, label_map)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
