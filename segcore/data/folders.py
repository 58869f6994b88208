"""Which images a config entry means: those of a COCO list, or every image file of a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from segcore.data.coco import load_coco
from segcore.data.images import IMAGE_SUFFIXES
from segcore.errors import DataError

SUFFIXES = tuple(IMAGE_SUFFIXES)


class ListedImage(NamedTuple):
    """One image of a list. file_name: POSIX, relative to the folder. declared_size: (width, height) px, if stated."""

    file_name: str
    declared_size: tuple[int, int] | None


def list_images(folder: Path, annotations: Path | None) -> tuple[ListedImage, ...]:
    """Return the images of an entry without labels, sorted by file name.

    annotations: a COCO file whose images are meant, with file names relative to `folder`; None takes every image file
    under `folder`, subfolders included, hidden ones left out.
    """
    check_folder(folder)
    if annotations is None:
        names = image_files(folder)
        if not names:
            raise DataError(f"{folder}: expected image files ({', '.join(sorted(IMAGE_SUFFIXES))}), found none")
        return tuple(ListedImage(name, None) for name in names)
    images = load_coco(annotations, labelled=False).images
    if not images:
        raise DataError(f"{annotations}: expected at least one image in images, got none")
    listed = (
        ListedImage(image.file_name, (image.width, image.height) if image.width and image.height else None)
        for image in images
    )
    return tuple(sorted(listed, key=lambda image: image.file_name))


def check_folder(folder: Path) -> None:
    """Check that `folder` is one; DataError otherwise."""
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DataError(f"{folder}: expected a folder of images, found {found} there")


def image_files(folder: Path) -> tuple[str, ...]:
    """Return the POSIX names of all image files under `folder`, sorted; hidden files and folders are left out."""
    names = []
    for parent, subfolders, files in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "__MACOSX"))]
        place = Path(parent).relative_to(folder).as_posix()
        images = [name for name in files if not name.startswith(".") and name.lower().endswith(SUFFIXES)]
        names += images if place == "." else [f"{place}/{name}" for name in images]
    return tuple(sorted(names))
