from __future__ import annotations

from pathlib import Path

import pytest

from segcore.data.classes import check_same_categories, class_map, default_colour
from segcore.data.coco import CocoCategory
from segcore.errors import ConfigError, DataError

CAN, BOTTLE = CocoCategory(9, "can"), CocoCategory(2, "bottle")
BACKGROUND, VOID = CocoCategory(5, "Background"), CocoCategory(30, "void", ignore=True)


@pytest.mark.parametrize(
    ("categories", "unannotated", "names", "ids"),
    [
        ([CAN, BOTTLE], "background", ("background", "bottle", "can"), (None, 2, 9)),
        ([CAN, BACKGROUND, BOTTLE], "background", ("Background", "bottle", "can"), (5, 2, 9)),
        ([CAN, BACKGROUND, BOTTLE], "ignore", ("bottle", "Background", "can"), (2, 5, 9)),
        ([VOID, CAN, BOTTLE], "ignore", ("bottle", "can"), (2, 9)),
        ([VOID, CAN], "background", ("background", "can"), (None, 9)),
    ],
)
def test_class_ids_follow_category_ids_after_the_background(categories, unannotated, names, ids):
    classes = class_map(categories, unannotated, "background", {})
    assert classes.names == names
    assert classes.category_ids == ids
    assert len(classes.palette) == classes.num_classes == len(names)


def test_colours_differ_and_can_be_given():
    assert len({default_colour(index) for index in range(100)}) == 100
    classes = class_map([CAN, BOTTLE], "background", "background", {"can": (1, 2, 3)})
    assert classes.palette[0] == (0, 0, 0)
    assert classes.palette[2] == (1, 2, 3)


@pytest.mark.parametrize(
    ("categories", "unannotated", "palette", "error", "message"),
    [
        ([CAN], "ignore", {}, DataError, r"2 to 255 classes, got 1 \(can\)"),
        ([BACKGROUND], "background", {}, DataError, "2 to 255 classes, got 1"),
        ([], "background", {}, DataError, "got 1"),
        ([CocoCategory(i, f"c{i}") for i in range(256)], "ignore", {}, DataError, "got 256"),
        (
            [CAN],
            "background",
            {"cann": (0, 0, 0)},
            ConfigError,
            "'cann', which is no class; classes are background, can",
        ),
        ([CAN], "background", {"can": (0, 0, 300)}, ConfigError, r"data\.palette\.can must be RGB from 0 to 255"),
        ([BACKGROUND, CocoCategory(6, "background")], "background", {}, DataError, "only one category"),
    ],
)
def test_classes_that_cannot_be_used_are_refused(categories, unannotated, palette, error, message):
    with pytest.raises(error, match=message):
        class_map(categories, unannotated, "background", palette)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ([CAN], "id 2 is missing here and 'bottle' there"),
        ([CAN, BOTTLE, BACKGROUND], "id 5 is 'Background' here and missing there"),
        ([CocoCategory(2, "can"), CocoCategory(9, "bottle")], "id 2 is 'can' here and 'bottle' there"),
    ],
)
def test_files_whose_categories_differ_are_refused(other, message):
    with pytest.raises(DataError, match=message):
        check_same_categories([CAN, BOTTLE], Path("train.json"), other, Path("val.json"))
    check_same_categories([CAN, BOTTLE], Path("train.json"), [BOTTLE, CAN], Path("val.json"))
