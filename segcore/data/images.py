"""Image files: headers before decoding, decoding that notices truncation, and paths that stay in their folder."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from segcore.errors import DataError

# Our own cap (data.max_megapixels) is checked on the header; Pillow's would warn at 89 megapixels whatever we allow.
Image.MAX_IMAGE_PIXELS = None

EXIF_ORIENTATION = 0x0112
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
NO_MEGAPIXEL_CAP = float("inf")
# In JPEG's coded data 0xFF is followed by 00 (stuffing), D0..D7 (restart) or FF (fill); anything else is a marker.
JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
JPEG_END = 0xD9
DRIVE_LETTER = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True)
class ImageHeader:
    """What an image file says of itself.

    width, height: pixels as stored, before EXIF orientation. orientation: EXIF value 1..8, 1 = as stored.
    """

    width: int
    height: int
    orientation: int

    @property
    def oriented_width(self) -> int:
        """Return the width after EXIF orientation."""
        return self.height if self.orientation >= 5 else self.width

    @property
    def oriented_height(self) -> int:
        """Return the height after EXIF orientation."""
        return self.width if self.orientation >= 5 else self.height


def probe_image(path: Path, max_megapixels: float) -> ImageHeader:
    """Read the header of the image `path`, undecoded. Not an image, or over the cap: DataError."""
    refuse_special_file(path)
    try:
        with path.open("rb") as file:
            return probe_stream(file, str(path), max_megapixels)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path and its rights") from error


def probe_stream(file: IO[bytes], name: str, max_megapixels: float) -> ImageHeader:
    """Read an image header from an open binary file called `name` in messages."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            refuse_over_cap(name, width, height, max_megapixels)  # before getexif, which decodes a PNG without EXIF
            orientation = int(image.getexif().get(EXIF_ORIENTATION, 1))
            if image.format == "TIFF" and orientation >= 5:
                width, height = height, width  # for TIFF alone Pillow gives the size after orientation
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{name}: expected an image ({', '.join(FORMATS)}), its content is none") from error
    except Exception as error:  # on foreign bytes Pillow's parsers raise whatever comes: struct.error, KeyError …
        raise DataError(f"{name}: its image header is damaged ({error})") from error
    return ImageHeader(width, height, orientation if 1 <= orientation <= 8 else 1)


def refuse_over_cap(name: str, width: int, height: int, max_megapixels: float) -> None:
    """Raise a DataError for an image of more pixels than are allowed."""
    if width * height > max_megapixels * 1e6:
        raise DataError(
            f"{name}: {width}x{height} is {width * height / 1e6:.1f} megapixels, more than data.max_megapixels "
            f"({max_megapixels:g}); shrink the image or raise the limit"
        )


def read_image(path: Path, max_megapixels: float = NO_MEGAPIXEL_CAP) -> NDArray[np.uint8]:
    """Decode `path` to (H, W, 3) uint8 in BGR order, EXIF orientation applied, as mmsegmentation reads images.

    A file that is damaged or ends early is a DataError: OpenCV alone would return it half grey.
    """
    return decode_image(read_bytes(path), str(path), max_megapixels)


def read_bytes(path: Path) -> bytes:
    """Return the content of `path`; a file that cannot be read is a DataError."""
    refuse_special_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path and its rights") from error


def refuse_special_file(path: Path) -> None:
    """Raise a DataError for a pipe, device or folder called like an image: reading a pipe would wait for ever."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: cannot be read, expected a regular file; remove it from the image folder")


def decode_image(data: bytes, name: str, max_megapixels: float = NO_MEGAPIXEL_CAP) -> NDArray[np.uint8]:
    """Decode the content of an image file, see read_image."""
    header = check_image(data, name, max_megapixels)
    image = _opencv_decode(data, name, cv2.IMREAD_COLOR)
    if image.shape[:2] != (header.oriented_height, header.oriented_width):
        raise DataError(
            f"{name}: its header says {header.oriented_width}x{header.oriented_height} after EXIF orientation, "
            f"but {image.shape[1]}x{image.shape[0]} was decoded; re-save the image"
        )
    return image


def decode_preview(data: bytes, name: str, min_side_px: int) -> NDArray[np.uint8]:
    """Decode to (h, w) uint8 grey, EXIF orientation applied, at reduced size where that is cheap.

    Neither side falls below `min_side_px` by the reduction. The caller has used check_image.
    """
    header = probe_stream(io.BytesIO(data), name, NO_MEGAPIXEL_CAP)
    side = min(header.width, header.height)
    flag = cv2.IMREAD_GRAYSCALE
    for divisor, reduced in (
        (2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
        (4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
        (8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
    ):
        if side // divisor >= min_side_px:
            flag = reduced
    return _opencv_decode(data, name, flag)


def check_image(data: bytes, name: str, max_megapixels: float) -> ImageHeader:
    """Check header, size and completeness of an image file's content without decoding JPEG or PNG."""
    header = probe_stream(io.BytesIO(data), name, max_megapixels)
    if data[:2] == b"\xff\xd8":
        complete = jpeg_is_complete(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        complete = png_is_complete(data)
    else:
        complete = _pillow_decodes(data)
    if not complete:
        raise DataError(f"{name}: the file ends early (truncated); copy or download it again")
    return header


def jpeg_is_complete(data: bytes) -> bool:
    """Tell whether a JPEG's own end marker is there, past embedded thumbnails (ITU-T T.81, annex B)."""
    position = 2
    while match := JPEG_MARKER.search(data, position):
        if match[1][0] == JPEG_END:
            return True
        length = int.from_bytes(data[match.end() : match.end() + 2], "big")
        position = match.end() + length
        if length < 2:
            return False
    return False


def png_is_complete(data: bytes) -> bool:
    """Tell whether a PNG's chunks run to its IEND chunk."""
    position = 8
    while position + 12 <= len(data):
        if data[position + 4 : position + 8] == b"IEND":
            return True
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return False


def _pillow_decodes(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
    except Exception:  # as in probe_stream
        return False
    return True


def _opencv_decode(data: bytes, name: str, flag: int) -> NDArray[np.uint8]:
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flag)
    except cv2.error as error:
        raise DataError(f"{name}: OpenCV cannot decode this image ({error.err})") from error
    if image is None:
        raise DataError(f"{name}: OpenCV cannot decode this image; it is damaged or of an unknown kind, re-save it")
    return np.asarray(image, dtype=np.uint8)


def file_name_problem(file_name: object) -> str | None:
    """Return what is wrong with a relative POSIX file name, or None."""
    if not isinstance(file_name, str) or not file_name.strip():
        return f"file_name must be a non-empty text, got {file_name!r}"
    if not file_name.isprintable():
        return f"file_name must be printable UTF-8, got {file_name!r}"
    if "\\" in file_name:
        return f"file_name must use / between folders, got {file_name!r}"
    if file_name.startswith("/") or DRIVE_LETTER.match(file_name):
        return f"file_name must be relative to the image folder, got {file_name!r}"
    if ".." in file_name and ".." in file_name.split("/"):
        return f"file_name must stay inside the image folder, got {file_name!r}"
    return None


def safe_join(root: Path, file_name: str) -> Path:
    """Return root/file_name; absolute names, `..` and symbolic links that leave `root` are refused (DataError)."""
    problem = file_name_problem(file_name)
    if problem is not None:
        raise DataError(f"{root}: {problem}")
    path = root / file_name
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # a loop of symbolic links
        raise DataError(f"{path}: cannot be followed ({error}); remove the symbolic link") from error
    if not inside:
        raise DataError(f"{path}: leads out of the image folder by a symbolic link; copy the image into {root}")
    return path
