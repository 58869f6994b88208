from __future__ import annotations

import numpy as np
import pytest

from segcore.outputs.augment_sheet import GAP_PX, LINE_PX, SheetRow, SheetStyle, Tile, contact_sheet, shown_classes

STYLE = SheetStyle(40, ("as on disk", "drawn"), ("ground", "can"), ((0, 0, 0), (250, 0, 0)))


def tile(height: int, width: int, label: int) -> Tile:
    return Tile(np.full((height, width, 3), 90, np.uint8), np.full((height, width), label, np.uint8))


@pytest.mark.parametrize("num_rows", [1, 3])
def test_a_sheet_has_a_pair_of_pictures_per_tile_and_a_line_per_row_and_legend(num_rows: int) -> None:
    row = SheetRow("an image", (tile(80, 60, 1), tile(20, 20, 255)))
    sheet = contact_sheet([row] * num_rows, STYLE)
    assert sheet.shape[1] == GAP_PX + 2 * (2 * 40 + 2 * GAP_PX)
    assert sheet.shape[0] >= LINE_PX + num_rows * (LINE_PX + 40 + GAP_PX) + LINE_PX
    first = (2 * LINE_PX + 20, GAP_PX + 20)  # the middle of the first picture
    assert sheet[first].tolist() == [90, 90, 90]
    red = sheet[first[0], first[1] + 40 + GAP_PX // 2].astype(int)
    assert red[0] > red[1:].max() + 100


def test_classes_shown_are_those_of_any_tile_with_ignore_last() -> None:
    rows = [SheetRow("a", (tile(4, 4, 1), tile(4, 4, 255))), SheetRow("b", (tile(4, 4, 0), tile(4, 4, 1)))]
    assert shown_classes(rows) == [0, 1, 255]
