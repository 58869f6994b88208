"""What the image files of a run hold now: size and sha256 of each, read again only where a file has changed."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from segcore.data.images import refuse_special_file
from segcore.data.scan import in_threads
from segcore.data.sources import SourceImage
from segcore.errors import DataError
from segcore.store.hash_memo import Entry, HashMemo, identity_of, read_steady

CHUNK_IMAGES = 1000


class Content(NamedTuple):
    """A readable image file. size: bytes."""

    size: int
    sha256: str


def contents_of(images: Sequence[SourceImage], memo: HashMemo) -> list[Content | None]:
    """Return the content of every image file, in the order of images; None for one that cannot be read.

    Every file is looked at; those the memo knows unchanged are not opened. What was read is remembered.
    """
    by_folder: defaultdict[tuple[Path, str], list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        by_folder[image.root, os.path.dirname(image.file_name)].append(index)  # noqa: PTH120 - a hundred thousand
    chunks = [
        indices[start : start + CHUNK_IMAGES]
        for indices in by_folder.values()
        for start in range(0, len(indices), CHUNK_IMAGES)
    ]
    found: list[Content | None] = [None] * len(images)
    results = in_threads(lambda chunk: folder_contents([images[index] for index in chunk], memo), chunks)
    for chunk, contents in zip(chunks, results, strict=True):
        for index, content in zip(chunk, contents, strict=True):
            found[index] = content
    return found


def folder_contents(images: Sequence[SourceImage], memo: HashMemo) -> list[Content | None]:
    """Return the content of images whose files lie in one folder."""
    folder = plain_folder(images[0])
    new: list[Entry] = []
    contents = [
        (None if folder is None else known_content(folder, image, memo)) or read_content(image, new) for image in images
    ]
    if new:
        memo.remember(new)
    return contents


def plain_folder(image: SourceImage) -> str | None:
    """Return the folder of an image's file, None when a symbolic link leads out of the image folder."""
    folder = os.path.dirname(os.path.join(image.root, image.file_name))  # noqa: PTH118, PTH120
    root, real = os.path.realpath(image.root), os.path.realpath(folder)
    return folder if real == root or real.startswith(root.rstrip("/") + "/") else None


def known_content(folder: str, image: SourceImage, memo: HashMemo) -> Content | None:
    """Return what the memo knows of a plain file that is unchanged; None when it has to be read.

    A symbolic link is always followed and read: its target may lie anywhere.
    """
    name = f"{folder}/{image.file_name.rpartition('/')[2]}"
    try:
        status = os.lstat(name)
    except OSError:
        return None
    sha256 = memo.known_sha256(name, identity_of(status)) if stat.S_ISREG(status.st_mode) else None
    return None if sha256 is None else Content(status.st_size, sha256)


def read_content(image: SourceImage, new: list[Entry]) -> Content | None:
    """Read an image file and return its content, None when that fails; add to new what may be remembered of it."""
    try:
        path = image.path()
        refuse_special_file(path)
        size, (sha256, identity) = path.stat().st_size, read_steady(path)
    except (DataError, OSError):
        return None
    if identity is not None and not path.is_symlink():
        new.append((str(path), identity, sha256))
    return Content(size, sha256)
