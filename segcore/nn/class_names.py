"""What an mmsegmentation config says of its classes: its data set's names and colours, never a checkpoint's pickle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmseg.registry import DATASETS

from segcore.nn.networks import read_config

Names = tuple[str, ...]
Palette = tuple[tuple[int, int, int], ...]
LOADERS = ("test_dataloader", "val_dataloader", "train_dataloader")


def told_classes(config_path: Path, num_classes: int) -> tuple[Names | None, Palette | None]:
    """Return names and RGB palette of the first data set in a config that has this many classes; None where untold.

    A data set tells them by metainfo, else by its class in mmsegmentation (ADE20KDataset, CityscapesDataset ...).
    """
    for told in metainfos(read_config(config_path)):
        names, palette = told.get("classes"), told.get("palette")
        if names is not None and len(names) == num_classes:
            fits = palette is not None and len(palette) == num_classes
            return tuple(map(str, names)), tuple(map(colour, palette)) if fits and palette is not None else None
    return None, None


def metainfos(config: Config) -> Iterator[Mapping[str, Any]]:
    """Yield what the data sets of a config say of their classes, the most particular first."""
    for loader in LOADERS:
        dataset = config.get(loader, {}).get("dataset", {})
        while "dataset" in dataset:  # wrapped, e.g. repeated
            dataset = dataset["dataset"]
        yield dataset.get("metainfo") or {}
        known = DATASETS.get(dataset["type"]) if isinstance(dataset.get("type"), str) else None
        yield getattr(known, "METAINFO", None) or {}


def colour(value: Any) -> tuple[int, int, int]:
    """Return one colour of a palette as three numbers, 0..255."""
    red, green, blue = (int(part) for part in value)
    return red, green, blue
