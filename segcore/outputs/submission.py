"""The competition CSV: one row an image, `image_id,PredictionString`, class ids row by row at a small size.

The small label maps were made from probabilities averaged to that size; class ids are never interpolated here.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from segcore.errors import DataError
from segcore.pseudo.predictions import read_small_label_maps
from segcore.records import ImageRecord

HEADER = "image_id,PredictionString"
MAX_PROBLEMS = 20  # named in one error

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubmissionSpec:
    """What a submission is made of.

    predictions: files that together hold the images; others in them are passed over. images: in the order of the test
    list; the CSV's image_id is their file_name as in COCO. size: height, width in px. fill_class: class id of rows
    whose image has no prediction (quarantined); None: such an image is an error.
    """

    predictions: tuple[Path, ...]
    images: tuple[ImageRecord, ...]
    size: tuple[int, int]
    num_classes: int
    fill_class: int | None = None


def write_submission(spec: SubmissionSpec, out_csv: Path) -> tuple[str, ...]:
    """Write the CSV and return the image ids of rows that hold fill_class for want of a prediction.

    Joined by image id. Small label maps are gathered on the disk of the CSV, so that memory stays flat; in a file
    without a name, so that nothing is left of it when the process dies.
    """
    with TemporaryFile(dir=out_csv.parent) as file:
        maps = np.memmap(file, np.uint8, "w+", shape=(max(1, len(spec.images)), *spec.size))
        missing = gather(spec, maps)
        write_rows(out_csv, (image.file_name for image in spec.images), maps)
        del maps
    return missing


def gather(spec: SubmissionSpec, maps: NDArray[np.uint8]) -> tuple[str, ...]:
    """Fill maps, (N, h, w) uint8, with the small label maps in order of spec.images; return ids of missing images."""
    waiting = {image.image_id: index for index, image in enumerate(spec.images)}
    for path in spec.predictions:
        for image_id, small in read_small_label_maps(path):
            index = waiting.pop(image_id, None)
            if index is not None:
                maps[index] = checked(small, f"{path}: {image_id}", spec)
    fill_missing(spec, maps, waiting)
    return tuple(waiting)


def fill_missing(spec: SubmissionSpec, maps: NDArray[np.uint8], missing: Mapping[str, int]) -> None:
    """Fill the rows of images without a prediction, given by image id and row, with the fill class, if it is set."""
    if not missing:
        return
    if spec.fill_class is None:
        raise DataError(
            f"a submission must cover every test image, got no prediction at submission size for {len(missing)} of "
            f"{len(spec.images)}, such as {next(iter(missing))!r}; label them, or set a class to fill them with"
        )
    for image_id, index in missing.items():
        maps[index] = spec.fill_class
        logger.warning("%s has no prediction: its row holds class %d only", image_id, spec.fill_class)


def checked(small: NDArray[np.uint8], what: str, spec: SubmissionSpec) -> NDArray[np.uint8]:
    """Return a small label map after checking its size and class ids."""
    if small.shape != spec.size:
        raise DataError(f"{what}: the small label map must be {spec.size} (h, w), got {small.shape}; label it again")
    if small.size and small.max() >= spec.num_classes:
        raise DataError(f"{what}: class ids must be under {spec.num_classes}, got {small.max()}; label it again")
    return small


def write_rows(path: Path, names: Iterable[str], maps: Iterable[NDArray[np.uint8]]) -> None:
    """Write header and rows; equal input gives equal bytes."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER.split(","))
        for name, label_map in zip(names, maps, strict=False):  # the map of an empty list has one spare row
            writer.writerow([name, " ".join(map(str, label_map.ravel().tolist()))])


def validate_submission(path: Path, names: Sequence[str], size: tuple[int, int], num_classes: int) -> None:
    """Check a CSV against the test list; DataError names up to 20 lines that are wrong.

    names: expected image_id values, in order. size: height, width in px. Every row must hold height * width class ids
    in 0 .. num_classes - 1, separated by single spaces.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            problems = list(problems_of(file, names, size, num_classes))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: must be a readable UTF-8 CSV: {error}; write the submission again") from error
    if problems:
        more = len(problems) - MAX_PROBLEMS
        shown = problems[:MAX_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise DataError(f"{path} is not a valid submission:\n  " + "\n  ".join(shown))


def problems_of(lines: Iterable[str], names: Sequence[str], size: tuple[int, int], num_classes: int) -> Iterator[str]:
    """Yield what is wrong with a CSV, line by line."""
    valid = {str(class_id) for class_id in range(num_classes)}
    num_rows = 0
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if number == 1:
            if text.removeprefix("\ufeff") != HEADER:
                yield f"line 1: the header must be {HEADER}, got {text[:80]!r}"
            continue
        name, pixels = split_row(text)
        expected = names[num_rows] if num_rows < len(names) else None
        num_rows += 1
        if name != expected:
            yield (
                f"line {number}: image_id must be {expected!r}, got {name!r}"
                if expected is not None
                else (f"line {number}: only {len(names)} images are in the test list, got a row for {name!r}")
            )
        yield from (f"line {number} ({name}): {problem}" for problem in pixel_problems(pixels, size, valid))
    if num_rows < len(names):
        yield f"after line {num_rows + 1}: {len(names) - num_rows} images are missing, the first is {names[num_rows]!r}"


def split_row(text: str) -> tuple[str, str]:
    """Return image_id and PredictionString of a line; only the image_id may be quoted.

    The csv module is not asked, since it refuses fields as long as a PredictionString.
    """
    name, _, pixels = text.rpartition(",")
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = name[1:-1].replace('""', '"')
    return name, pixels


def pixel_problems(pixels: str, size: tuple[int, int], valid: set[str]) -> Iterator[str]:
    """Yield what is wrong with a PredictionString. valid: the class ids as texts."""
    tokens = pixels.split(" ")
    if len(tokens) != size[0] * size[1]:
        yield f"must have {size[0]} x {size[1]} = {size[0] * size[1]} class ids, got {len(tokens)}"
    if bad := sorted(set(tokens) - valid):
        where = tokens.index(bad[0])
        yield f"class ids must be 0 … {len(valid) - 1}, got {bad[0]!r} as number {where + 1}"
