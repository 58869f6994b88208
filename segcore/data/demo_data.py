"""The demo data set: drawn photos of waste with COCO files, so that the whole loop runs anywhere in minutes.

Most labelled training images come from a narrow first day of collecting (few grounds, few product styles, good light);
pool, validation and test images come from any day. That is the usual state of a young data set, and what makes
unlabelled images worth having. `oracle.json` holds the truth of pool and test: for measuring afterwards, never given
to a run.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segcore.data.demo_objects import CLASS_NAMES
from segcore.data.demo_scene import ANY_DAY, FIRST_DAY, Scene, Setting, draw_scene
from segcore.errors import DataError

SPLITS = ("train", "val", "test", "unlabeled")
DEMO_FILE = re.compile(r"images|(oracle|train|val|test|unlabeled)\.json|(train|val|test|unlabeled)_\d{4,}\.jpg")
INFO = {
    "description": "Drawn waste scenes made by segloop demo-data. Pixels without annotation are background.",
    "version": "1",
}


@dataclass(frozen=True)
class DemoSpec:
    """How much to draw. seed: equal seeds draw equal files. num_*: images. size: side of the square images, px.

    first_day_share: share of the labelled training images that show the narrow conditions; the rest are like the pool.
    threads: drawing threads; without influence on the result.
    """

    seed: int = 0
    num_train: int = 32
    num_val: int = 60
    num_test: int = 30
    num_unlabeled: int = 150
    size: int = 192
    first_day_share: float = 0.7
    threads: int = 2

    def __post_init__(self) -> None:
        for name in ("num_train", "num_val", "num_test", "num_unlabeled"):
            if getattr(self, name) < 1:
                raise DataError(
                    f"demo data: {name} must be at least 1, got {getattr(self, name)}; draw one image or more"
                )
        if not 32 <= self.size <= 1024:
            raise DataError(
                f"demo data: size must be 32 to 1024 px, got {self.size}; 192 is what configs/demo.yaml expects"
            )
        if not 0.0 <= self.first_day_share <= 1.0:
            raise DataError(f"demo data: first_day_share must be in [0, 1], got {self.first_day_share}")

    def count(self, split: str) -> int:
        """Return the number of images of a split."""
        return int(getattr(self, f"num_{split}"))


def draw_demo_data(out: Path, spec: DemoSpec) -> dict[str, int]:
    """Draw the data set into the folder `out` and return the number of images per split.

    Writes images/*.jpg, train.json and val.json (labelled), unlabeled.json and test.json (images only) and oracle.json
    (labels of the last two). Every image depends on (seed, split, index) alone: drawing more does not change the first.
    Raises DataError when out holds other things than demo data, or cannot be written.
    """
    _prepare(out)
    jobs = [(split, index) for split in SPLITS for index in range(spec.count(split))]
    try:
        with ThreadPoolExecutor(spec.threads) as pool:
            drawn = dict(zip(jobs, pool.map(lambda job: _draw_one(out, spec, *job), jobs), strict=True))
        for split in SPLITS:
            entries = [drawn[split, index] for index in range(spec.count(split))]
            _write_json(out / f"{split}.json", _coco(entries, labelled=split in ("train", "val")))
        oracle = [drawn[job] for job in jobs if job[0] in ("test", "unlabeled")]
        _write_json(out / "oracle.json", _coco(oracle, labelled=True))
    except OSError as error:
        raise DataError(
            f"{out}: cannot write the demo data ({error.strerror}); give a folder that can be written"
        ) from None
    return {split: spec.count(split) for split in SPLITS}


def demo_scene(spec: DemoSpec, split: str, index: int) -> Scene:
    """Return the scene of one image of the data set, before JPEG compression."""
    rng = np.random.default_rng([spec.seed, SPLITS.index(split), index])
    return draw_scene(rng, _setting(rng, spec, split), spec.size)


def run_length_counts(mask: NDArray[np.bool_]) -> list[int]:
    """Return COCO's uncompressed run lengths of an (H, W) mask: column by column, starting with the number of zeros."""
    flat = mask.ravel(order="F").astype(np.int8)
    edges = np.flatnonzero(np.diff(flat, prepend=np.int8(0), append=np.int8(2)))
    return [int(run) for run in np.diff(edges, prepend=0)]


Entry = tuple[dict[str, Any], list[dict[str, Any]]]  # one image of a COCO file, its annotations


def _setting(rng: np.random.Generator, spec: DemoSpec, split: str) -> Setting:
    narrow = split == "train" and rng.random() < spec.first_day_share
    return FIRST_DAY if narrow else ANY_DAY


def _prepare(out: Path) -> None:
    """Make an empty image folder; refuse a folder that holds anything but demo data."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out}: expected a folder for the demo data, got a file; name another place")
    images = out / "images"
    found = [*out.glob("*"), *images.glob("*")]
    strangers = sorted(entry.name for entry in found if not DEMO_FILE.fullmatch(entry.name))
    if strangers:
        raise DataError(
            f"{out}: expected a new or empty folder, or demo data to overwrite, got {strangers[0]}; name another"
        )
    try:
        images.mkdir(parents=True, exist_ok=True)
        for old in images.iterdir():
            old.unlink()
    except OSError as error:
        raise DataError(f"{out}: cannot make this folder ({error.strerror}); name one that can be written") from None


def _draw_one(out: Path, spec: DemoSpec, split: str, index: int) -> Entry:
    """Draw, save and describe one image."""
    scene = demo_scene(spec, split, index)
    file_name = f"{split}_{index:04d}.jpg"
    quality = 70 + int(np.random.default_rng([spec.seed, SPLITS.index(split), index, 1]).integers(25))
    encoded, buffer = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise DataError(f"{file_name}: OpenCV could not encode a JPEG; check the OpenCV installation")
    (out / "images" / file_name).write_bytes(buffer.tobytes())
    return {"file_name": file_name, "width": spec.size, "height": spec.size}, _annotations(scene)


def _annotations(scene: Scene) -> list[dict[str, Any]]:
    """Return one annotation per object of which something is seen, without ids."""
    result: list[dict[str, Any]] = []
    for number in np.unique(scene.instances[scene.instances > 0]):
        mask = scene.instances == number
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        left, top = int(columns[0]), int(rows[0])
        result.append(
            {
                "category_id": int(scene.label_map[mask][0]),
                "segmentation": {"size": list(mask.shape), "counts": run_length_counts(mask)},
                "area": int(mask.sum()),
                "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
                "iscrowd": 0,
            }
        )
    return result


def _coco(entries: list[Entry], labelled: bool) -> dict[str, Any]:
    """Return a COCO file of the entries, ids given in order; without annotations unless labelled."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, (image, objects) in enumerate(entries, start=1):
        images.append({"id": image_id, **image})
        for found in objects if labelled else []:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **found})
    categories = [
        {"id": index, "name": name, "supercategory": "waste"} for index, name in enumerate(CLASS_NAMES, start=1)
    ]
    return {"info": INFO, "images": images, "categories": categories, "annotations": annotations}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
