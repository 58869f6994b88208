"""Which mask belongs to which image in the folder layouts of Cityscapes, CamVid, VOC, or side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from segcore.data.folders import check_folder, image_files
from segcore.errors import DataError
from segcore.records import IGNORE_INDEX

Layout = Literal["plain", "voc", "cityscapes", "camvid"]

VOC_NAMES = [
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
CITYSCAPES_NAMES = [
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
]
# The label ids of the 19 classes that Cityscapes scores; all others are ignored, as in its evaluation scripts.
CITYSCAPES_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CAMVID_NAMES = [
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign symbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
]  # the usual 11
CAMVID_VOID = 11
CITYSCAPES_MASKS = ("_gtFine_labelTrainIds", "_gtCoarse_labelTrainIds", "_gtFine_labelIds", "_gtCoarse_labelIds")
CITYSCAPES_IMAGE = "_leftImg8bit"


@dataclass(frozen=True)
class MaskPair:
    """An image and its mask. file_name: of the image, POSIX, relative to the image folder. mask: path of the PNG."""

    file_name: str
    mask: Path


@dataclass(frozen=True)
class MaskClasses:
    """What the values of a mask mean. names: value to class name, ascending. ignored: values that are ignore."""

    names: Mapping[int, str]
    ignored: frozenset[int]


def mask_pairs(images_dir: Path, masks_dir: Path, layout: Layout) -> tuple[MaskPair, ...]:
    """Return the images that have a mask, sorted by file name; DataError when a mask has no image, or none pair up.

    plain, voc, camvid: mask and image have the same path but for the suffix (CamVid's masks may end in _L or _P).
    cityscapes: city/x_leftImg8bit.png and city/x_gtFine_labelTrainIds.png, or labelIds.
    """
    check_folder(images_dir)
    check_folder(masks_dir)
    stem_of = _cityscapes_stem if layout == "cityscapes" else _camvid_stem if layout == "camvid" else _stem
    masks = _by_stem([name for name in image_files(masks_dir) if name.lower().endswith(".png")], stem_of, masks_dir)
    images = _by_stem(image_files(images_dir), _image_stem if layout == "cityscapes" else _stem, images_dir)
    lonely = sorted(set(masks) - set(images))
    if lonely or not masks:
        found = f"no image for the mask {masks[lonely[0]]} and {len(lonely) - 1} more" if lonely else "no mask (PNG)"
        raise DataError(f"{masks_dir}: expected masks named like the images in {images_dir} ({layout}), found {found}")
    return tuple(MaskPair(images[stem], masks_dir / masks[stem]) for stem in sorted(masks, key=lambda s: images[s]))


def _by_stem(names: Sequence[str], stem_of: Callable[[str], str | None], folder: Path) -> dict[str, str]:
    """Return file names by the stem that image and mask share; of Cityscapes' mask kinds the first in its list."""
    found: dict[str, str] = {}
    for name in sorted(names, key=_preference):
        stem = stem_of(name)
        if stem is None:
            continue
        if stem in found and _preference(name)[0] == _preference(found[stem])[0]:
            raise DataError(f"{folder}: {found[stem]} and {name} would be the same image; rename one")
        found.setdefault(stem, name)
    return found


def _preference(name: str) -> tuple[int, str]:
    kinds = [rank for rank, kind in enumerate(CITYSCAPES_MASKS) if PurePosixPath(name).stem.endswith(kind)]
    return (kinds[0] if kinds else -1, name)


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _image_stem(name: str) -> str | None:
    return _stem(name).removesuffix(CITYSCAPES_IMAGE)


def _cityscapes_stem(name: str) -> str | None:
    stem = _stem(name)
    return next((stem.removesuffix(kind) for kind in CITYSCAPES_MASKS if stem.endswith(kind)), None)


def _camvid_stem(name: str) -> str:
    return _stem(name).removesuffix("_L").removesuffix("_P")


def mask_classes(layout: Layout, class_names: Sequence[str] | None, first_mask: Path) -> MaskClasses:
    """Return what mask values mean.

    class_names: names of the values 0, 1, 2 …; None uses the layout's own (plain has none). 255 is always ignore, in
    CamVid's own classes 11 too, and in Cityscapes' labelIds every id that its evaluation leaves out.
    """
    if class_names:
        return MaskClasses(dict(enumerate(class_names)), frozenset({IGNORE_INDEX}))
    if layout == "voc":
        return MaskClasses(dict(enumerate(VOC_NAMES)), frozenset({IGNORE_INDEX}))
    if layout == "camvid":
        return MaskClasses(dict(enumerate(CAMVID_NAMES)), frozenset({CAMVID_VOID, IGNORE_INDEX}))
    if layout == "cityscapes":
        if first_mask.stem.endswith("TrainIds"):
            return MaskClasses(dict(enumerate(CITYSCAPES_NAMES)), frozenset({IGNORE_INDEX}))
        named = dict(zip(CITYSCAPES_LABEL_IDS, CITYSCAPES_NAMES, strict=True))
        return MaskClasses(named, frozenset(range(IGNORE_INDEX + 1)) - frozenset(named))
    raise DataError("masks of the plain layout need class names, in order of their values 0, 1, 2 …; give them")
