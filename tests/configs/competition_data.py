"""A drawn data set in the layout of the competition: ten categories of waste, three image folders under one root.

`python tests/configs/competition_data.py DIR` draws one to try the recycling configs with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CATEGORIES = (
    "General trash", "Paper", "Paper pack", "Metal", "Glass", "Plastic", "Styrofoam", "Plastic bag", "Battery",
    "Clothing",
)  # fmt: skip
PALETTE = (
    (0, 0, 0), (192, 0, 128), (0, 128, 192), (0, 128, 64), (128, 0, 0), (64, 0, 128), (64, 0, 192), (192, 128, 64),
    (192, 192, 128), (64, 64, 128), (128, 0, 192),
)  # fmt: skip
FOLDERS = ("batch_01_vt", "batch_02_vt", "batch_03")
SPLITS = {"train": 12, "val": 16, "test": 6}
OBJECTS = 3


def draw_competition(root: Path, side: int = 64) -> Path:
    """Draw photos of side px, and train.json, val.json and test.json, into root; return root."""
    rng = np.random.default_rng(0)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    number = 0
    for split, num_images in SPLITS.items():
        coco = empty_coco()
        for image_id in range(num_images):  # ids of the competition begin with 0
            name = f"{FOLDERS[number % len(FOLDERS)]}/{number:04d}.jpg"
            coco["images"].append({"id": image_id, "file_name": name, "width": side, "height": side, "license": 0})
            objects = draw_photo(root / name, number, side, rng)
            if split != "test":
                coco["annotations"] += [{"id": len(coco["annotations"]) + i, "image_id": image_id, **item}
                                        for i, item in enumerate(objects)]  # fmt: skip
            number += 1
        (root / f"{split}.json").write_text(json.dumps(coco))
    return root


def empty_coco() -> dict[str, Any]:
    """Return a COCO document with the categories alone."""
    categories = [{"id": i, "name": name, "supercategory": name} for i, name in enumerate(CATEGORIES, 1)]
    return {"info": {}, "licenses": [], "images": [], "categories": categories, "annotations": []}


def draw_photo(path: Path, number: int, side: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Draw noise with a few objects, each in a colour of its category, at places of its own; return annotations."""
    image = rng.normal(rng.integers(60, 200, 3), 20, (side, side, 3)).clip(0, 255).astype(np.uint8)
    found = []
    for place in range(OBJECTS):
        category = (number + place * 3) % len(CATEGORIES) + 1
        width, height = (int(value) for value in rng.integers(side // 5, side // 3, 2))
        x = int(rng.integers(0, side - width))
        y = place * side // OBJECTS + int(rng.integers(0, side // OBJECTS - height + 1))
        red, green, blue = PALETTE[category]
        image[y : y + height, x : x + width] = rng.normal((blue, green, red), 15, (height, width, 3)).clip(0, 255)
        polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
        found.append({"category_id": category, "segmentation": [polygon], "area": width * height,
                      "bbox": [x, y, width, height], "iscrowd": 0})  # fmt: skip
    assert cv2.imwrite(str(path), image)
    return found


if __name__ == "__main__":
    draw_competition(Path(sys.argv[1]), side=256)
