"""The images of a run as its config names them, with their annotations: lists only, no image is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from segcore.config.data_schema import DataConfig, ImageList, LabelledImages
from segcore.config.schema import RunConfig
from segcore.data.classes import check_same_categories, class_map
from segcore.data.coco import CocoAnnotation, CocoCategory, CocoFile, CocoImage, load_coco
from segcore.data.folders import ListedImage, check_folder, list_images
from segcore.data.images import safe_join
from segcore.errors import DataError
from segcore.records import ClassMap


@dataclass(frozen=True, eq=False)
class SourceImage:
    """An image by its place in the config.

    declared_size: (width, height) px that its list states. coco, annotations: None without labels; () is a labelled
    image on which nothing was found.
    """

    source: str
    file_name: str
    root: Path
    declared_size: tuple[int, int] | None
    coco: CocoImage | None = None
    annotations: tuple[CocoAnnotation, ...] | None = None

    @property
    def image_id(self) -> str:
        """Return "<source>/<file_name>", unique in a run."""
        return f"{self.source}/{self.file_name}"

    @property
    def labelled(self) -> bool:
        """Tell whether there is ground truth for it."""
        return self.annotations is not None

    def path(self) -> Path:
        """Return where the image lies; DataError when that is outside its folder."""
        return safe_join(self.root, self.file_name)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Everything a run's config names. sources: images by source, sorted by file name."""

    sources: Mapping[str, tuple[SourceImage, ...]]
    categories: tuple[CocoCategory, ...]
    class_map: ClassMap

    def images(self, labelled: bool) -> tuple[SourceImage, ...]:
        """Return the images with, or without, labels in order of sources and file names."""
        return tuple(image for images in self.sources.values() for image in images if image.labelled == labelled)


def image_roots(config: RunConfig) -> dict[str, Path]:
    """Return the image folder of every source: "train", "val", "unlabeled_0" …, "test", as far as configured."""
    data = config.data
    entries: dict[str, LabelledImages | ImageList | None] = {"train": data.train, "val": data.val}
    entries |= {f"unlabeled_{index}": entry for index, entry in enumerate(data.unlabeled)}
    entries["test"] = data.test
    return {source: entry.images for source, entry in entries.items() if entry is not None}


def label_files(data: DataConfig) -> dict[str, Path]:
    """Return every COCO file of a config by source; the labels of test are "test_labels"."""
    files = {"train": data.train.annotations}
    if data.val is not None:
        files["val"] = data.val.annotations
    files |= {f"unlabeled_{i}": entry.annotations for i, entry in enumerate(data.unlabeled) if entry.annotations}
    if data.test is not None and data.test.annotations is not None:
        files["test"] = data.test.annotations
    if data.test_labels is not None:
        files["test_labels"] = data.test_labels
    return files


def load_dataset(config: RunConfig) -> Dataset:
    """Load and check every list and label file; DataError for the first file that is wrong, with all its problems."""
    data = config.data
    train = load_labelled(data.train.annotations, data.train.images)
    if not train.annotations:
        raise DataError(f"{train.path}: expected annotations to learn from, got none; label some images first")
    sources = {"train": labelled_images("train", train, data.train.images)}
    if data.val is not None:
        val = load_labelled(data.val.annotations, data.val.images)
        check_same_categories(train.categories, train.path, val.categories, val.path)
        sources["val"] = labelled_images("val", val, data.val.images)
    for index, entry in enumerate(data.unlabeled):
        sources[f"unlabeled_{index}"] = listed_images(f"unlabeled_{index}", entry)
    if data.test is not None:
        sources["test"] = images_of_test(data.test, data.test_labels, train)
    elif data.test_labels is not None:
        raise DataError(f"data.test_labels is {data.test_labels}, but data.test is not given; name its images there")
    classes = class_map(train.categories, data.unannotated, data.background, data.palette)
    return Dataset(sources, train.categories, classes)


def load_labelled(annotations: Path, folder: Path) -> CocoFile:
    """Load a labelled COCO file, which must list an image, and check its image folder."""
    check_folder(folder)
    file = load_coco(annotations)
    if not file.images:
        raise DataError(
            f"{annotations}: expected at least one image in images, got none; "
            "set data.val to null to have validation images split off train"
        )
    return file


def labelled_images(source: str, file: CocoFile, root: Path) -> tuple[SourceImage, ...]:
    """Return the images of a labelled COCO file, sorted by file name."""
    ordered = sorted(file.images, key=lambda image: image.file_name)
    return tuple(labelled_image(source, image, file, root) for image in ordered)


def labelled_image(source: str, image: CocoImage, file: CocoFile, root: Path) -> SourceImage:
    """Return one image of a labelled COCO file."""
    size = (image.width, image.height) if image.width is not None and image.height is not None else None
    return SourceImage(source, image.file_name, root, size, image, file.by_image[image.id])


def listed_images(source: str, entry: ImageList) -> tuple[SourceImage, ...]:
    """Return the images of an entry without labels."""
    return unlabelled_images(source, list_images(entry.images, entry.annotations), entry.images)


def unlabelled_images(source: str, listed: Iterable[ListedImage], root: Path) -> tuple[SourceImage, ...]:
    """Return listed images as images of a source."""
    return tuple(SourceImage(source, image.file_name, root, image.declared_size) for image in listed)


def images_of_test(entry: ImageList, labels: Path | None, train: CocoFile) -> tuple[SourceImage, ...]:
    """Return the test images; those in the label file, if there is one, carry its annotations."""
    plain = listed_images("test", entry)
    if labels is None:
        return plain
    file = load_labelled(labels, entry.images)
    check_same_categories(train.categories, train.path, file.categories, file.path)
    labelled = {image.file_name: labelled_image("test", image, file, entry.images) for image in file.images}
    unknown = sorted(set(labelled) - {image.file_name for image in plain})
    if unknown:
        raise DataError(
            f"{labels}: data.test_labels may only label images of data.test, got {unknown[0]!r} "
            f"and {len(unknown) - 1} more that data.test does not list"
        )
    return tuple(labelled.get(image.file_name, image) for image in plain)


def given_teacher_images(config: RunConfig) -> tuple[SourceImage, ...]:
    """Return the images a given teacher was trained on, of sources "teacher_0" …; () without one."""
    entries = () if config.model.teacher is None else config.model.teacher.trained_on
    return tuple(image for index, entry in enumerate(entries) for image in listed_images(f"teacher_{index}", entry))
