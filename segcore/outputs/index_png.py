"""Label maps as index PNGs: the pixel value is the class id, the palette only colours it; 255 is ignore."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segcore.data.label_maps import LabelMaps
from segcore.errors import DataError
from segcore.records import IGNORE_INDEX

IGNORE_COLOUR = (255, 255, 255)


def export_index_pngs(
    label_maps: LabelMaps, image_ids: Iterable[str], out_dir: Path, palette: Sequence[tuple[int, int, int]]
) -> int:
    """Write one PNG per image, "<out_dir>/<source>/<file name with .png>", and return how many.

    image_ids: those to write. palette: RGB per class id; ignore (255) is white. Equal input gives equal bytes.
    """
    names = png_names(image_ids)
    for image_id, name in names.items():
        path = out_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_index_png(path, label_maps[image_id], palette)
    return len(names)


def png_names(image_ids: Iterable[str]) -> dict[str, PurePosixPath]:
    """Return the PNG path of each image: its suffix replaced, or added to where two images would share a name."""
    paths = {image_id: PurePosixPath(image_id) for image_id in image_ids}
    shared = Counter(path.with_suffix(".png") for path in paths.values())
    names = {}
    for image_id, path in paths.items():
        if path.is_absolute() or ".." in path.parts:
            raise DataError(f"image ids must stay inside the folder they are exported to, got {image_id!r}")
        short = path.with_suffix(".png")
        names[image_id] = short if shared[short] == 1 else path.with_name(f"{path.name}.png")
    return names


def write_index_png(path: Path, label_map: NDArray[np.uint8], palette: Sequence[tuple[int, int, int]]) -> None:
    """Write a (H, W) uint8 label map as an 8-bit palette PNG."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    colours[IGNORE_INDEX] = IGNORE_COLOUR
    image = Image.fromarray(label_map)
    image.putpalette(colours.tobytes())
    image.save(path, format="PNG")
