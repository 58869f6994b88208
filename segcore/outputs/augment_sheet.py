"""A contact sheet of training samples: each as it is on disk, then as the model sees it, labels beside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from segcore.outputs.report_pictures import paint_classes
from segcore.records import IGNORE_INDEX

GAP_PX = 6
TEXT_PX = 13
LINE_PX = 20
WHITE, BLACK = (255, 255, 255), (0, 0, 0)

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Tile:
    """One look at a sample. image: (H, W, 3) uint8 RGB. label_map: (H, W) uint8, 255 is ignored."""

    image: Image
    label_map: Image


@dataclass(frozen=True)
class SheetRow:
    """One sample. title: above it. tiles: left to right, as many in every row."""

    title: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class SheetStyle:
    """How a sheet is drawn. tile_px: side of each picture. captions: one per tile of a row. palette: RGB."""

    tile_px: int
    captions: tuple[str, ...]
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]


def contact_sheet(rows: Sequence[SheetRow], style: SheetStyle) -> Image:
    """Return the whole sheet, (H, W, 3) uint8 RGB: rows of image and labels in turn, a legend below."""
    width = GAP_PX + len(style.captions) * (2 * style.tile_px + 2 * GAP_PX)
    row_height = LINE_PX + style.tile_px + GAP_PX
    legend = legend_lines(shown_classes(rows), style, width)
    height = LINE_PX + len(rows) * row_height + LINE_PX * len(legend) + GAP_PX
    canvas = Pillow.new("RGB", (width, height), WHITE)
    pen = Pen(canvas)
    for column, caption in enumerate(style.captions):
        pen.write(column_left(column, style), 0, caption)
    for index, row in enumerate(rows):
        top = LINE_PX + index * row_height
        pen.write(GAP_PX, top, row.title)
        for column, tile in enumerate(row.tiles):
            for part, picture in enumerate(pictures(tile, style)):
                canvas.paste(
                    Pillow.fromarray(picture),
                    (column_left(column, style) + part * (style.tile_px + GAP_PX // 2), top + LINE_PX),
                )
    for number, line in enumerate(legend):
        pen.write_legend(line, height - GAP_PX - LINE_PX * (len(legend) - number))
    return np.asarray(canvas)


def column_left(column: int, style: SheetStyle) -> int:
    """Return where a column of tiles begins, px."""
    return GAP_PX + column * (2 * style.tile_px + 2 * GAP_PX)


def pictures(tile: Tile, style: SheetStyle) -> tuple[Image, Image]:
    """Return a tile's image, and its labels over the image, in the sheet's size."""
    factor = style.tile_px / max(tile.label_map.shape)
    size = (max(round(tile.label_map.shape[1] * factor), 1), max(round(tile.label_map.shape[0] * factor), 1))
    shrinking = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(tile.image, size, interpolation=shrinking), np.uint8)
    # class ids must not be interpolated: 0|8 would give 4
    label_map = np.asarray(cv2.resize(tile.label_map, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    return image, paint_classes(image, label_map, style.palette)


def shown_classes(rows: Iterable[SheetRow]) -> list[int]:
    """Return the label map values that some tile shows, ignore last."""
    return sorted({int(value) for row in rows for tile in row.tiles for value in np.unique(tile.label_map)})


@dataclass(frozen=True)
class LegendEntry:
    """One class in the legend. left: px."""

    left: int
    name: str
    colour: tuple[int, int, int]


def legend_lines(values: Sequence[int], style: SheetStyle, width: int) -> list[list[LegendEntry]]:
    """Return the entries of the legend in as many lines as they need."""
    lines: list[list[LegendEntry]] = [[]]
    left = GAP_PX
    for value in values:
        ignored = value == IGNORE_INDEX
        name = "ignored (striped)" if ignored else style.class_names[value]
        length = 2 * LINE_PX + round(font().getlength(name))
        if left + length > width and lines[-1]:
            lines.append([])
            left = GAP_PX
        lines[-1].append(LegendEntry(left, name, (178, 178, 178) if ignored else style.palette[value]))
        left += length
    return lines


class Pen:
    """Writes on a canvas."""

    def __init__(self, canvas: Pillow.Image) -> None:
        self.draw = ImageDraw.Draw(canvas)

    def write(self, left: int, top: int, text: str) -> None:
        """Write a line of text."""
        self.draw.text((left, top + (LINE_PX - TEXT_PX) // 2), text, fill=BLACK, font=font())

    def write_legend(self, line: Sequence[LegendEntry], top: int) -> None:
        """Write a line of the legend."""
        for entry in line:
            box = (entry.left, top + 4, entry.left + 12, top + 16)
            self.draw.rectangle(box, fill=entry.colour, outline=BLACK)
            self.write(entry.left + LINE_PX, top, entry.name)


def font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return the font of all text."""
    return ImageFont.load_default(TEXT_PX)
