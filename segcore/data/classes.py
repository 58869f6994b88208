"""From COCO categories to class ids."""

from __future__ import annotations

import colorsys
import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from segcore.data.coco import CocoCategory
from segcore.errors import ConfigError, DataError
from segcore.records import IGNORE_INDEX, ClassMap

Colour = tuple[int, int, int]
BACKGROUND_COLOUR: Colour = (0, 0, 0)
GOLDEN_RATIO = 0.618033988749895  # hues at this step stay far apart for any number of classes


def default_colour(index: int) -> Colour:
    """Return an RGB colour, 0..255, for the index-th foreground class; neighbours differ clearly."""
    hue = (0.02 + index * GOLDEN_RATIO) % 1.0
    saturation, value = ((0.80, 0.95), (0.55, 0.85), (0.95, 0.65))[index % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return (round(red * 255), round(green * 255), round(blue * 255))


def class_map(
    categories: Iterable[CocoCategory],
    unannotated: Literal["background", "ignore"],
    background_name: str,
    palette: Mapping[str, Colour],
) -> ClassMap:
    """Return the classes of a run, in order of class id.

    unannotated "background": class 0 is the category named `background_name` (whatever its case) or, without one, an
    implicit class of that name; the others follow in order of category id. "ignore": the categories alone. Categories
    marked as ignore are no class. palette: class name to RGB, overriding the default colours.
    """
    usable = sorted((category for category in categories if not category.ignore), key=lambda category: category.id)
    entries: list[tuple[str, int | None]] = [(category.name, category.id) for category in usable]
    if unannotated == "background":
        named = [entry for entry in entries if entry[0].casefold() == background_name.casefold()]
        if len(named) > 1:
            raise DataError(f"only one category may be called {background_name!r}, got {[name for name, _ in named]}")
        first = named[0] if named else (background_name, None)
        entries = [first, *(entry for entry in entries if entry not in named)]
    names = tuple(name for name, _ in entries)
    _check_class_names(names, unannotated, palette)
    return ClassMap(names, _colours(names, unannotated, palette), tuple(category_id for _, category_id in entries))


def _check_class_names(names: Sequence[str], unannotated: str, palette: Mapping[str, Colour]) -> None:
    if not 2 <= len(names) <= IGNORE_INDEX:
        raise DataError(
            f"segmentation needs 2 to {IGNORE_INDEX} classes, got {len(names)} ({', '.join(names)}) with "
            f"data.unannotated: {unannotated}; add categories, or set data.unannotated: background if the rest is one"
        )
    unknown = sorted(set(palette) - set(names))
    if unknown:
        raise ConfigError(f"data.palette names {unknown[0]!r}, which is no class; classes are {', '.join(names)}")
    for name, colour in palette.items():
        if not all(0 <= channel <= 255 for channel in colour):
            raise ConfigError(f"data.palette.{name} must be RGB from 0 to 255, got {list(colour)}")


def _colours(names: Sequence[str], unannotated: str, palette: Mapping[str, Colour]) -> tuple[Colour, ...]:
    first_foreground = 1 if unannotated == "background" else 0
    defaults = [BACKGROUND_COLOUR] * first_foreground
    defaults += [default_colour(index) for index in range(len(names) - first_foreground)]
    return tuple(palette.get(name, colour) for name, colour in zip(names, defaults, strict=True))


def check_same_categories(
    expected: Sequence[CocoCategory], expected_path: Path, found: Sequence[CocoCategory], found_path: Path
) -> None:
    """Check that two COCO files give the same ids to the same names; DataError names the first difference."""
    names = {category.id: (category.name, category.ignore) for category in expected}
    others = {category.id: (category.name, category.ignore) for category in found}
    for category_id in sorted(names.keys() | others.keys()):
        ours, theirs = names.get(category_id), others.get(category_id)
        if ours != theirs:
            raise DataError(
                f"{found_path}: categories must equal those of {expected_path}; id {category_id} is "
                f"{_described(theirs)} here and {_described(ours)} there"
            )


def _described(category: tuple[str, bool] | None) -> str:
    if category is None:
        return "missing"
    return repr(category[0]) + (" (ignore)" if category[1] else "")


def require_known(field: str, named: Iterable[str], class_names: Sequence[str]) -> None:
    """Raise ConfigError, with the nearest name, where a field of the config names a class that there is not."""
    for name in named:
        if name not in class_names:
            near = difflib.get_close_matches(name, class_names, n=1, cutoff=0.0)
            raise ConfigError(
                f"{field} names the class {name!r}, which this run does not have; "
                f"did you mean {near[0]!r}? Classes: {', '.join(class_names)}"
            )
