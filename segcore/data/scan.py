"""Reading each image file once: content hash, header, completeness and fingerprint, in threads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from segcore.data.images import ImageHeader, check_image, decode_preview, probe_image, read_bytes
from segcore.data.near_duplicates import THUMB_PX, Fingerprint, fingerprint
from segcore.data.paint import size_agrees, size_mismatch
from segcore.data.sources import SourceImage
from segcore.errors import DataError

MAX_THREADS = 8
BATCHES_PER_THREAD = 8  # at least, where there are so many items: the slowest batch is waited for
MAX_BATCH = 32  # items a thread is given at once: handing over a small one takes longer than the work on it
PREVIEW_PX = 4 * THUMB_PX  # averaging over at least 4x4 px keeps the thumbnail independent of the decoder's scaling

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Scan:
    """What a file turned out to be. sha256: of its bytes."""

    image: SourceImage
    sha256: str
    header: ImageHeader
    fingerprint: Fingerprint


@dataclass(frozen=True, eq=False)
class Failure:
    """A file that cannot be used, and why."""

    image: SourceImage
    reason: str


def scan_image(image: SourceImage, max_megapixels: float) -> Scan | Failure:
    """Read, hash and check one image; JPEG is decoded at reduced size only."""
    try:
        path = image.path()
        data = read_bytes(path)
        header = check_image(data, str(path), max_megapixels)
        check_declared_size(image, header)
        preview = decode_preview(data, str(path), PREVIEW_PX)
    except DataError as error:
        return Failure(image, str(error))
    return Scan(image, hashlib.sha256(data).hexdigest(), header, fingerprint(preview))


def probe(image: SourceImage, max_megapixels: float) -> Failure | None:
    """Check one image's path, header and declared size without decoding it; None when all is well."""
    try:
        check_declared_size(image, probe_image(image.path(), max_megapixels))
    except DataError as error:
        return Failure(image, str(error))
    return None


def check_declared_size(image: SourceImage, header: ImageHeader) -> None:
    """Check that the size stated in the image's list is the file's, before or after EXIF orientation."""
    if not size_agrees(image.declared_size, header):
        raise DataError(f"{image.root}: {size_mismatch(image.file_name, image.declared_size, header)}")


def scan_images(images: Sequence[SourceImage], max_megapixels: float) -> tuple[list[Scan], list[Failure]]:
    """Scan many images in threads; return what is usable and what is not, each in the given order."""
    results = in_threads(lambda image: scan_image(image, max_megapixels), images)
    return [r for r in results if isinstance(r, Scan)], [r for r in results if isinstance(r, Failure)]


def in_threads(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return function(item) for every item, in order; hashing and decoding let other threads run."""
    num_threads = min(MAX_THREADS, os.cpu_count() or 1)
    size = min(MAX_BATCH, len(items) // (BATCHES_PER_THREAD * num_threads) + 1)
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    with ThreadPoolExecutor(num_threads) as pool:
        results = pool.map(lambda batch: [function(item) for item in batch], batches)
        return [result for batch in results for result in batch]
